"""Rate limit and CPU budget for the messages of WebSocket clients.

A viewer has almost nothing to send, but a frame of 6 bytes costs the server as much as one of 1,000. Each
connection therefore has a rate limit in bytes, and all connections of a process share one time budget. Input
is processed in slices, round robin. While a connection has unprocessed input, nothing more is read from it.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Protocol

logger = logging.getLogger(__name__)

#: The share of the event loop's time that viewers' messages get, and the longest time for a burst.
SHARE, BURST_SECONDS = 0.2, 0.01
#: Bytes processed per turn: at most 85 frames.
SLICE_BYTES = 512
#: A connection may send this many bytes in a window of time: two messages of the largest size.
ALLOWED_BYTES, WINDOW_SECONDS = 32 * 1024, 10.0
#: The connection is aborted this many seconds after our close frame. Since we no longer read, we can't wait
#: for the client's close frame.
ABORT_AFTER_SECONDS = 1.0
#: Each read counts as at least this many bytes of the rate limit.
READ_BYTES = 64


class Owner(Protocol):
    """The connection that fills an InputBuffer and processes its slices."""

    def process_input(self, data: bytes) -> None:
        """Process the next bytes, which may end in the middle of a frame."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def on_limit_exceeded(self) -> None:
        """Close the connection, because it sent more than its rate limit allows."""

    def abort(self) -> None:
        """Abort the connection, because processing its input failed."""


class InputBuffer:
    """One connection's unprocessed input and its rate limit."""

    __slots__ = ("_closed", "_owner", "_pending", "_received", "_throttle", "_window_start", "waiting")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._throttle = shared_throttle()
        self._pending = b""
        self.waiting = self._closed = False
        self._received, self._window_start = 0, 0.0

    def add(self, data: bytes) -> None:
        """Process `data` at once if the budget allows and no other input waits; otherwise queue it."""
        if self._closed:
            return
        if not self._allows(len(data)):
            self._closed = True
            self.clear()
            self._owner.on_limit_exceeded()
            return
        self._pending += data
        if not self.waiting:
            self.waiting = True
            self._throttle.admit(self)
            if self.waiting:
                self._owner.pause_reading()

    def clear(self) -> None:
        """Drop the unprocessed input."""
        self._pending = b""

    def fail(self) -> None:
        """Drop the input and abort the connection."""
        self.waiting, self._closed = False, True
        self.clear()
        self._owner.abort()

    def process_slice(self) -> bool:
        """Process one slice. Return whether more input is waiting."""
        data, self._pending = self._pending[:SLICE_BYTES], self._pending[SLICE_BYTES:]
        if data:
            self._owner.process_input(data)
        return bool(self._pending)

    def done(self, *, waited: bool) -> None:
        self.waiting = False
        if waited and not self._closed:
            self._owner.resume_reading()

    def _allows(self, count: int) -> bool:
        now = time.monotonic()
        if now - self._window_start >= WINDOW_SECONDS:
            self._received, self._window_start = 0, now
        self._received += max(count, READ_BYTES)
        return self._received <= ALLOWED_BYTES


class Throttle:
    """The time budget of one event loop, and the queue of InputBuffers that wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[InputBuffer] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._credit, self._counted_at = BURST_SECONDS, time.perf_counter()

    def admit(self, input_buffer: InputBuffer) -> None:
        self._waiting.append(input_buffer)
        if self._timer is None:
            self._process(fresh=input_buffer)

    def _process(self, fresh: InputBuffer | None = None) -> None:
        """Process slices round robin while the budget lasts. `fresh` is a buffer that was just added."""
        self._timer = None
        now = time.perf_counter()
        self._credit = min(self._credit + (now - self._counted_at) * SHARE, BURST_SECONDS)
        self._counted_at = now
        while self._waiting and self._credit > 0:
            input_buffer = self._waiting.popleft()
            began = time.perf_counter()
            more = self._turn(input_buffer, waited=input_buffer is not fresh)
            # Limit how far the credit falls below 0: a slice that was slow on a busy machine must not delay
            # the others for long.
            self._credit = max(self._credit - (time.perf_counter() - began), -BURST_SECONDS)
            if more:
                self._waiting.append(input_buffer)
        if self._waiting:
            pause = (BURST_SECONDS / 4 - self._credit) / SHARE
            self._timer = self._loop.call_later(pause, self._process)

    def _turn(self, input_buffer: InputBuffer, *, waited: bool) -> bool:
        """Process one slice; return whether input is left. An error closes only its own connection."""
        try:
            more = input_buffer.process_slice()
            if not more:
                input_buffer.done(waited=waited)
        except Exception:
            logger.exception("viewer_failed: its connection is closed")
            # Let the loop call `fail` later: an error in it would stop the processing of the other
            # connections.
            self._loop.call_soon(input_buffer.fail)
            return False
        return more


_shared: Throttle | None = None


def shared_throttle() -> Throttle:
    """Return the running event loop's Throttle."""
    global _shared
    loop = asyncio.get_running_loop()
    if _shared is None or _shared._loop is not loop:
        _shared = Throttle(loop)
    return _shared
