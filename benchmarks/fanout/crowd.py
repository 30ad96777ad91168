"""A process that plays thousands of viewers: `python -m benchmarks.fanout.crowd DIALECT HOST:PORT PATH`.

The process reads commands as JSON lines from standard input. `benchmarks.fanout.viewers` sends them. When a
command is done, the process answers with one line. All sockets are on one epoll without a framework, so a
message costs little more than the system call that reads it. The measured server is the bottleneck, not this
process.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import json
import os
import pickle
import random
import select
import socket
import sys
import time
from array import array
from collections.abc import Callable
from typing import Any

from benchmarks.orders import carry_out

from .dialects import DIALECTS, HEAD_END, Dialect, Ended, ballots_in

_STDIN = 0
_READ = 1 << 18
_CONNECTING = select.EPOLLOUT
_OPEN = select.EPOLLIN
#: The smallest receive buffer that the system allows. A few messages fill this buffer.
_TINY_BUFFER = 1
#: The usual segment size of a network. Loopback's segment size is so large that the sender's buffer would
#: have megabytes.
_SEGMENT = 1400
PATIENCE = 60


def page_backoff(failures: int, jitter: bool) -> float:
    """Return the reconnect delay in seconds, as static/js/live/connection.js computes it."""
    ceiling = min(30.0, 0.5 * 2**failures)
    return ceiling / 2 + random.random() * ceiling / 2 if jitter else ceiling / 2


class Viewer:
    __slots__ = ("failures", "level", "opened", "pending", "socket", "stalled")

    def __init__(self, stalled: bool = False) -> None:
        self.stalled = stalled
        self.failures = 0
        self.socket: socket.socket | None = None
        self.reset()

    def reset(self) -> None:
        self.opened = False
        self.level = -1  # number of ballots in the newest tally
        self.pending = b""


class Crowd:
    def __init__(self, dialect: Dialect, host: str, port: int, path: str) -> None:
        self.dialect, self.address = dialect, (host, port)
        self.request = dialect.request(f"{host}:{port}", path)
        self.viewers: list[Viewer] = []
        self._epoll = select.epoll()
        self._by_fd: dict[int, Viewer] = {}
        self._queue: list[Viewer] = []
        self._later: list[tuple[float, int, Viewer]] = []
        self._at_once = 64
        self._in_flight = 0
        self._jitter = False
        self._orders = b""
        # The last bytes read that were exactly one tally. Most viewers read the same bytes, which needn't be
        # parsed again.
        self._familiar: tuple[bytes, bytes, bytes, int] = (b"", b"", b"", -1)
        self.lost = 0
        self.clear()

    def clear(self) -> None:
        """Reset the counts of messages, but keep each viewer's latest tally."""
        self.tallies = self.others = self.bytes = 0
        self.moves: dict[tuple[int, int], array[float]] = {}
        self.since = time.monotonic()

    def run(self) -> None:
        self._epoll.register(_STDIN, _OPEN)
        while self.step(1.0):
            pass

    def step(self, timeout: float) -> bool:
        if self._later:
            timeout = max(0.0, min(timeout, self._later[0][0] - time.monotonic()))
        for fd, event in self._epoll.poll(timeout, 512):
            if fd == _STDIN:
                if not self._take_orders():
                    return False
            elif (viewer := self._by_fd.get(fd)) is not None:
                if event & _CONNECTING and not event & _OPEN:
                    self._connected(viewer)
                else:
                    self._read(viewer)
        while self._later and self._later[0][0] <= time.monotonic():
            self._queue.append(heapq.heappop(self._later)[2])
        while self._queue and self._in_flight < self._at_once:
            self._connect(self._queue.pop())
        return True

    def until(self, done: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline or not self.step(0.05):
                return False
        return True

    # --- connecting ---

    def _connect(self, viewer: Viewer) -> None:
        viewer.reset()
        sock = socket.socket()
        sock.setblocking(False)
        if viewer.stalled:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TINY_BUFFER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        self._in_flight += 1
        viewer.socket = sock
        self._by_fd[sock.fileno()] = viewer
        self._epoll.register(sock.fileno(), _CONNECTING)
        if (code := sock.connect_ex(self.address)) not in (0, errno.EINPROGRESS):
            self._lose(viewer, os.strerror(code))

    def _connected(self, viewer: Viewer) -> None:
        sock = viewer.socket
        assert sock
        try:
            sock.send(self.request)
        except OSError as error:
            self._lose(viewer, str(error))
        else:
            self._epoll.modify(sock.fileno(), _OPEN)

    def _read_head(self, viewer: Viewer, data: bytes) -> bytes | None:
        """Return the bytes after the server's answer, or None until the answer is complete."""
        head, end, rest = (viewer.pending + data).partition(HEAD_END)
        if not end:
            viewer.pending = head
            return None
        if not head.startswith(self.dialect.accepted):
            raise Ended(head.partition(b"\r\n")[0].decode())
        viewer.opened, viewer.pending = True, b""
        self._in_flight -= 1
        if viewer.stalled:
            assert viewer.socket
            self._epoll.unregister(viewer.socket.fileno())
        return rest

    def _lose(self, viewer: Viewer, why: str) -> None:
        """Reconnect as a page would after losing the connection."""
        self.lost += 1
        self._hang_up(viewer)
        viewer.failures += 1
        when = time.monotonic() + page_backoff(viewer.failures, self._jitter)
        heapq.heappush(self._later, (when, id(viewer), viewer))

    def _hang_up(self, viewer: Viewer) -> None:
        if viewer.socket is None:
            return
        if not viewer.opened:
            self._in_flight -= 1
        del self._by_fd[viewer.socket.fileno()]
        viewer.socket.close()  # close() also removes the socket from the epoll
        viewer.socket = None
        viewer.reset()

    def leave(self) -> None:
        for viewer in self.viewers:
            self._hang_up(viewer)
        self._epoll.close()

    # --- listening ---

    def _read(self, viewer: Viewer) -> None:
        assert viewer.socket
        try:
            data = viewer.socket.recv(_READ if not viewer.stalled else 512)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(viewer, str(error))
            return
        now = time.monotonic()
        before, same, after, ballots = self._familiar
        if data == same and viewer.pending == before and viewer.opened:
            viewer.pending = after
            self._note(viewer, ballots, now)
            return
        try:
            if not data:
                raise Ended
            self._hear(viewer, data, now)
        except Ended as goodbye:
            self._lose(viewer, str(goodbye))

    def _hear(self, viewer: Viewer, data: bytes, now: float) -> None:
        self.bytes += len(data)
        if not viewer.opened:
            rest = self._read_head(viewer, data)
            if not rest:
                return
            data = rest
        before = viewer.pending
        messages, answer, viewer.pending = self.dialect.hear(before + data)
        if answer:
            assert viewer.socket
            with contextlib.suppress(OSError):
                viewer.socket.send(answer)
        for message in messages:
            ballots = ballots_in(message)
            if ballots is None:
                self.others += 1
                continue
            self._note(viewer, ballots, now)
            if len(messages) == 1 and not answer:
                self._familiar = (before, data, viewer.pending, ballots)

    def _note(self, viewer: Viewer, ballots: int, now: float) -> None:
        self.tallies += 1
        move = (viewer.level, ballots)
        viewer.level = ballots
        try:
            self.moves[move].append(now)
        except KeyError:
            self.moves[move] = array("d", (now,))

    # --- orders ---

    def _take_orders(self) -> bool:
        data = os.read(_STDIN, 1 << 16)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            print(json.dumps(carry_out(self, line)), flush=True)
        return bool(data)

    def do_join(self, count: int, stalled: bool = False, at_once: int = 64) -> dict[str, Any]:
        """Add viewers. Answer when all are connected, and all viewers that aren't stalled have a tally."""
        self._at_once = at_once
        new = [Viewer(stalled) for _ in range(count)]
        self.viewers += new
        return self._bring_in(new)

    def do_rejoin(self, jitter: bool) -> dict[str, Any]:
        """Drop all connections at once. Each viewer reconnects without waiting for others."""
        self._at_once, self._jitter = len(self.viewers), jitter
        for viewer in self.viewers:
            self._hang_up(viewer)
            viewer.failures = 1
        if not jitter:
            return self._bring_in(self.viewers)
        now = time.monotonic()
        for viewer in self.viewers:
            heapq.heappush(self._later, (now + page_backoff(1, True), id(viewer), viewer))
        return self._bring_in([], self.viewers)

    def do_await_return(self, jitter: bool) -> dict[str, Any]:
        """Wait until all viewers have reconnected and have a tally. Report the time since the first loss."""
        self._at_once, self._jitter = len(self.viewers), jitter
        for viewer in self.viewers:
            viewer.failures = 0
        lost = self.lost
        self.until(lambda: self.lost > lost)
        started = time.monotonic()
        self.until(lambda: self.lost >= lost + len(self.viewers))
        return self._bring_in([], self.viewers) | {"seconds": time.monotonic() - started}

    def _bring_in(self, new: list[Viewer], awaited: list[Viewer] | None = None) -> dict[str, Any]:
        awaited = new if awaited is None else awaited
        started, lost, cpu = time.monotonic(), self.lost, time.process_time()
        self._queue += reversed(new)
        missing = {id(viewer): viewer for viewer in awaited}

        def all_current() -> bool:
            for key in [key for key, viewer in missing.items() if has_come(viewer)]:
                del missing[key]
            return not missing

        self.until(all_current)
        return {
            "seconds": time.monotonic() - started,
            "missing": len(missing),
            "lost": self.lost - lost,
            "cpu": time.process_time() - cpu,
        }

    def do_clear(self) -> dict[str, Any]:
        self.clear()
        return {}

    def do_report(self, file: str) -> dict[str, Any]:
        """Report the tallies seen since `clear`. Write the steps from one tally to the next into a file."""
        with open(file, "wb") as out:
            pickle.dump(self.moves, out)
        return {
            "seconds": time.monotonic() - self.since,
            "viewers": sum(viewer.opened for viewer in self.viewers),
            "tallies": self.tallies,
            "others": self.others,
            "lost": self.lost,
            "cpu": time.process_time(),
        }

    def do_levels(self) -> dict[str, Any]:
        """Return the lowest and highest number of ballots in the viewers' newest tallies."""
        levels = [viewer.level for viewer in self.viewers if not viewer.stalled]
        return {"lowest": min(levels, default=-1), "highest": max(levels, default=-1)}


def has_come(viewer: Viewer) -> bool:
    return viewer.opened and (viewer.stalled or viewer.level >= 0)


def main() -> None:
    name, address, path = sys.argv[1:]
    host, _, port = address.rpartition(":")
    Crowd(DIALECTS[name], host, int(port), path).run()


if __name__ == "__main__":
    main()
