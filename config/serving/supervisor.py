"""A process supervisor: restarts children that die, and stops them in order on a signal.

The supervisor has one thread, and its only state is the list of children. docs/decisions/supervisor.md says
why this isn't honcho, circus or uvicorn's own workers.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BACKOFF_SECONDS = (0.1, 10.0)  # pause before the first restart, and the longest pause
STABLE_SECONDS = 30.0  # a child that ran this long restarts with the shortest pause
GIVE_UP_AFTER = 5  # give up if one child fails this often before the server is ready
POLL_SECONDS = 0.1
MAX_LINE_BYTES = 64 * 1024


@dataclass
class Child:
    name: str
    command: Sequence[str]
    #: Stages stop one after the other, in ascending order.
    stage: int = 0
    #: Added to the niceness of the process, so that others get the CPU first.
    nice: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    failures: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    partial_line: bytes = field(default=b"", repr=False)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs `children` until a stop signal and passes each line of their output to `emit(name, line)`.

    `grace` has the seconds from SIGTERM to SIGKILL, for each stage.
    """

    def __init__(
        self,
        children: Iterable[Child],
        emit: Callable[[str, bytes], None],
        grace: Sequence[float] = (6.0, 3.0),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.children = list(children)
        self.ready = False
        self._emit = emit
        self._grace = grace
        self._pass_fds = pass_fds
        self._signals = 0
        self._failed = False
        self._outputs = selectors.DefaultSelector()

    def run(self) -> int:
        """Supervise. Return 0 after a stop signal, 1 if the server never became ready."""
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            while not self._signals and not self._failed:
                self._start_due()
                self._read_outputs(POLL_SECONDS)
                self._reap()
            self._stop_all()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return 1 if self._failed else 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.process is None and now >= child.start_at:
                self._start(child)

    def _start(self, child: Child) -> None:
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(
            [sys.executable, "-m", "config.serving.child", str(os.getpid()), str(child.nice), *child.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self._pass_fds,
            start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops the children in order
        )
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._outputs.register(child.process.stdout, selectors.EVENT_READ, child)

    def _reap(self) -> None:
        for child in self.children:
            if child.process is None or child.process.poll() is None:
                continue
            lived = time.monotonic() - child.started_at
            child.failures = 1 if lived > STABLE_SECONDS else child.failures + 1
            least, most = BACKOFF_SECONDS
            pause = min(most, least * 2 ** (child.failures - 1))
            child.start_at = time.monotonic() + pause
            log.warning(
                "A process ended and is restarted",
                name=child.name,
                status=child.process.returncode,
                pause=pause,
            )
            self._close(child)
            if not self.ready and child.failures >= GIVE_UP_AFTER:
                log.error("A process fails to start; giving up", name=child.name)
                self._failed = True

    def _close(self, child: Child) -> None:
        process = child.process
        assert process is not None
        assert process.stdout is not None
        self._read(child)
        if child.partial_line:
            self._emit(child.name, child.partial_line)
        if process.stdout.fileno() in self._outputs.get_map():
            self._outputs.unregister(process.stdout)
        process.stdout.close()
        child.process, child.partial_line = None, b""

    def _read_outputs(self, timeout: float) -> None:
        for key, _events in self._outputs.select(timeout):
            self._read(key.data)

    def _read(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), MAX_LINE_BYTES)
        except BlockingIOError:
            return
        if not data and child.process.stdout.fileno() in self._outputs.get_map():
            self._outputs.unregister(child.process.stdout)
        *lines, rest = (child.partial_line + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        child.partial_line = rest
        for line in lines:
            self._emit(child.name, line)

    def _stop_all(self) -> None:
        """Stop stage by stage, because a web process that ends may still send tasks to a worker."""
        signals = self._signals
        for stage in sorted({child.stage for child in self.children}):
            group = [child for child in self.children if child.stage == stage and child.alive]
            for child in group:
                child.process.terminate()  # type: ignore[union-attr]
            deadline = time.monotonic() + self._grace[min(stage, len(self._grace) - 1)]
            while any(child.alive for child in group) and time.monotonic() < deadline:
                if self._signals > signals:  # a second signal: kill at once
                    break
                self._read_outputs(0.05)
            for child in group:
                if child.alive:
                    log.warning("A process didn't stop in time and is killed", name=child.name)
                    child.process.kill()  # type: ignore[union-attr]
        for child in self.children:
            if child.process is not None:
                child.process.wait()
                self._close(child)
