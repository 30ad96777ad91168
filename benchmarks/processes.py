"""Peers as separate processes, and CPU time and memory of process trees."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.servers import Server
from tests.system import processes

TICKS = os.sysconf("SC_CLK_TCK")
KIB = 1024


class Program(Server):
    """A peer, run by a command in its own session. It is ready when `ready` says so or its port answers.

    `{port}` and `{folder}` in the command and in the environment's values stand for its own port and folder.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Callable[[Program], bool] | None = None,
        port: int | None = None,
    ) -> None:
        self.name = name
        super().__init__(port)
        self._command = [self._fill(part) for part in command]
        self.environment = os.environ | {key: self._fill(value) for key, value in (env or {}).items()}
        self.cwd = cwd or self.folder
        self._ready = ready

    def _fill(self, text: str) -> str:
        return text.replace("{port}", str(self.port)).replace("{folder}", str(self.folder))

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def command(self) -> list[str]:
        return self._command

    def answers(self) -> bool:
        return self._ready(self) if self._ready else listens(self.port)

    def stop(self) -> None:
        """Stop the peer with its children. Its session is also a process group, with the peer's pid as id."""
        super().stop()
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def logged(text: str) -> Callable[[Program], bool]:
    """Return a test for programs without a port: whether the program's log contains this text."""
    return lambda program: program.log.exists() and text in program.log.read_text(errors="replace")


def pid_of(server: Server) -> int:
    assert server.process
    return server.process.pid


# --- trees of processes ---


def tree(*roots: int) -> list[int]:
    """Return these processes and all their descendants."""
    alive, known = processes(), set(roots)
    while grown := {each.pid for each in alive if each.parent in known} - known:
        known |= grown
    return sorted(known & {each.pid for each in alive})


def cpu_seconds(*roots: int) -> float:
    """Return user and system time of these process trees so far, to 10 ms.

    The time of an ended process is included once its parent has waited for it. If the parent ended first, the
    time is lost.
    """
    return sum(map(_cpu_of, tree(*roots)))


def _cpu_of(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own_and_waited_for = stat.rpartition(")")[2].split()[11:15]  # utime stime cutime cstime
    return sum(map(int, own_and_waited_for)) / TICKS


class Meter:
    """Measures the CPU seconds of process trees from its creation: `Meter(pid, pid).seconds()`."""

    def __init__(self, *roots: int) -> None:
        self.roots = roots
        self._before = cpu_seconds(*roots)

    def seconds(self) -> float:
        return cpu_seconds(*self.roots) - self._before


def pss(*roots: int) -> int:
    """Return the memory of these process trees in bytes (PSS: shared pages are divided among processes)."""
    return sum(map(_pss_of, tree(*roots)))


def _pss_of(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * KIB for line in rollup.splitlines() if line.startswith("Pss:"))


# --- cores ---


def server_core() -> set[int]:
    """Return the core of the measured process."""
    return {min(os.sched_getaffinity(os.getpid()))}


def load_core() -> set[int]:
    """Return the cores of the load, other than the measured process's."""
    return {sorted(os.sched_getaffinity(os.getpid()))[:2][-1]}


def pin(roots: Iterable[int], cores: set[int]) -> None:
    """Pin all threads of these process trees to these cores. Later children inherit the cores."""
    for pid in tree(*roots):
        for thread in _threads(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []
