"""What the clients of WebSockets may send, and how much of the event loop's time goes into it.

A viewer has next to nothing to say, but a frame of six bytes costs the server as much as one of a thousand.
So each connection has a rate limit in bytes, and all connections of a process share one budget of time. What
came is processed in slices, in turn; a connection whose bytes wait isn't read from meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Protocol

logger = logging.getLogger(__name__)

#: The part of the event loop's time that viewers' messages may take, and how much of it at once.
SHARE, BURST_SECONDS = 0.2, 0.01
#: What is processed before others have a turn: at most 85 frames.
SLICE_BYTES = 512
#: What one connection may send in so many seconds: two messages of the largest size.
ALLOWED_BYTES, WINDOW_SECONDS = 32 * 1024, 10.0
#: Until a connection that was told why it ends is cut. It isn't read from any more, so nor is its answer.
ABORT_AFTER_SECONDS = 1.0
#: What a read costs at least, however little came.
READ_BYTES = 64


class Owner(Protocol):
    """The connection that an input buffer belongs to."""

    def process_input(self, data: bytes) -> None:
        """Process the next bytes. They may end in the middle of a frame."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def on_limit_exceeded(self) -> None:
        """Close the connection: it sent more than it may."""

    def abort(self) -> None:
        """Cut the connection: what it sent couldn't be processed."""


class InputBuffer:
    """What one connection has sent: counted, and kept until it has its turn."""

    __slots__ = ("_closed", "_owner", "_pending", "_received", "_throttle", "_waiting", "_window_start")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._throttle = shared_throttle()
        self._pending = b""
        self._waiting = self._closed = False
        self._received, self._window_start = 0, 0.0

    @property
    def waiting(self) -> bool:
        return self._waiting

    def add(self, data: bytes) -> None:
        """Process `data` now if there is time and nobody waits, else in its turn."""
        if self._closed:
            return
        if not self._allows(len(data)):
            self._closed = True
            self.clear()
            self._owner.on_limit_exceeded()
            return
        self._pending += data
        if not self._waiting:
            self._waiting = True
            self._throttle.admit(self)
            if self._waiting:
                self._owner.pause_reading()

    def clear(self) -> None:
        """Forget what waits."""
        self._pending = b""

    def hand_over(self, owner: Owner) -> None:
        """The connection is `owner`'s now: what waits keeps its turn, and the limits go on."""
        self._owner = owner
        if self._waiting or self._closed:
            owner.pause_reading()

    def fail(self) -> None:
        """End this connection, whatever state it is in."""
        self._waiting, self._closed = False, True
        self.clear()
        self._owner.abort()

    def process_slice(self) -> bool:
        """Whether more is waiting."""
        data, self._pending = self._pending[:SLICE_BYTES], self._pending[SLICE_BYTES:]
        if data:
            self._owner.process_input(data)
        return bool(self._pending)

    def done(self, *, waited: bool) -> None:
        self._waiting = False
        if waited and not self._closed:
            self._owner.resume_reading()

    def _allows(self, count: int) -> bool:
        now = time.monotonic()
        if now - self._window_start >= WINDOW_SECONDS:
            self._received, self._window_start = 0, now
        self._received += max(count, READ_BYTES)
        return self._received <= ALLOWED_BYTES


class Throttle:
    """The budget of one event loop, and the input buffers that wait for it."""

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
        """Slice by slice, in turn, until nothing waits or the budget is spent. `fresh` has not waited yet."""
        self._timer = None
        now = time.perf_counter()
        self._credit = min(self._credit + (now - self._counted_at) * SHARE, BURST_SECONDS)
        self._counted_at = now
        while self._waiting and self._credit > 0:
            input_buffer = self._waiting.popleft()
            began = time.perf_counter()
            more = self._turn(input_buffer, waited=input_buffer is not fresh)
            # One slice that took long, since the machine was busy, isn't paid for by those behind it.
            self._credit = max(self._credit - (time.perf_counter() - began), -BURST_SECONDS)
            if more:
                self._waiting.append(input_buffer)
        if self._waiting:
            pause = (BURST_SECONDS / 4 - self._credit) / SHARE
            self._timer = self._loop.call_later(pause, self._process)

    def _turn(self, input_buffer: InputBuffer, *, waited: bool) -> bool:
        """Whether more is waiting. An error ends the connection that it came from, and no other."""
        try:
            more = input_buffer.process_slice()
            if not more:
                input_buffer.done(waited=waited)
        except Exception:
            logger.exception("viewer_failed: its connection is closed")
            # Not here: an error in this would stop the others after all.
            self._loop.call_soon(input_buffer.fail)
            return False
        return more


_shared: Throttle | None = None


def shared_throttle() -> Throttle:
    """The one of the running event loop."""
    global _shared
    loop = asyncio.get_running_loop()
    if _shared is None or _shared._loop is not loop:
        _shared = Throttle(loop)
    return _shared
