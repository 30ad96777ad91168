"""Peers as processes of their own, and what a tree of processes costs: CPU time and memory."""

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
    """A peer: a command in a session of its own, ready when `ready` says so or else when its port answers.

    `{port}` and `{folder}` in the command and in the environment's values stand for its own.
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
        """With whatever it started: a session is a process group too, and its number is our child's pid."""
        super().stop()
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def logged(text: str) -> Callable[[Program], bool]:
    """Ready when this stands in its log: for programs without a port."""
    return lambda program: program.log.exists() and text in program.log.read_text(errors="replace")


def pid_of(server: Server) -> int:
    assert server.process
    return server.process.pid


# --- trees of processes ---


def tree(*roots: int) -> list[int]:
    """These processes and all below them."""
    alive, known = processes(), set(roots)
    while grown := {each.pid for each in alive if each.parent in known} - known:
        known |= grown
    return sorted(known & {each.pid for each in alive})


def cpu_seconds(*roots: int) -> float:
    """User and system time of these trees so far, to 10 ms.

    A process that ended counts once its parent has waited for it. One whose parent ended first is lost.
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
    """CPU seconds that trees of processes take from now on: `Meter(pid, pid).seconds()`."""

    def __init__(self, *roots: int) -> None:
        self.roots = roots
        self._before = cpu_seconds(*roots)

    def seconds(self) -> float:
        return cpu_seconds(*self.roots) - self._before


def pss(*roots: int) -> int:
    """Memory of these trees in bytes; what processes share is counted once, in parts."""
    return sum(map(_pss_of, tree(*roots)))


def _pss_of(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * KIB for line in rollup.splitlines() if line.startswith("Pss:"))


# --- cores ---


def server_core() -> set[int]:
    """Where what is measured runs; everywhere on a machine with one core."""
    return {min(os.sched_getaffinity(os.getpid()))}


def load_core() -> set[int]:
    """Where the load comes from: another core, so that it takes nothing from what is measured."""
    return {sorted(os.sched_getaffinity(os.getpid()))[:2][-1]}


def pin(roots: Iterable[int], cores: set[int]) -> None:
    """Keep these trees, with all their threads, on these cores; what they start later inherits it."""
    for pid in tree(*roots):
        for thread in _threads(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []
