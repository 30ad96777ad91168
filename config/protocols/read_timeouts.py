"""Clients that take their time to ask, or ask without end: uvicorn waits for them for ever, and we don't.

Who holds a connection open and sends nothing, or a header or a body by the drop, costs little, but there may
be very many of them (slowloris). A request that comes whole, as nearly all do, sets no timer.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from config.protocols.http_framing import FramedHttp

#: From the connection to its first byte: as long as one that has been used may stay idle.
FIRST_BYTE_SECONDS = 30.0
#: From a request's first byte to the end of its headers; as deploy/nginx.conf has it.
HEAD_SECONDS = 10.0
#: Between two pieces of a body, and for all of it: the largest batch over a slow line.
BODY_PAUSE_SECONDS = 10.0
BODY_SECONDS = 120.0
HEAD_BYTES = 64 * 1024

TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class ImpatientHttp(FramedHttp):
    """uvicorn's, with an end to its patience."""

    within_message = False
    head_complete = False
    head_bytes = 0
    begun_at = received_at = 0.0
    slow_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.slow_timer = self.loop.call_later(FIRST_BYTE_SECONDS, self.too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Empty lines ahead of a request begin nothing, and buy no time."""
        super().data_received(data)
        if cast(Any, self.parser) is None:
            self.stop_waiting()  # the connection is somebody else's now
        elif self.within_message and not self.transport.is_closing():
            self.wait_for_rest(len(data))

    def on_message_begin(self) -> None:
        self.stop_waiting()
        self._unset_keepalive_if_required()
        self.within_message, self.head_complete, self.head_bytes = True, False, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.stop_waiting()
        self.within_message = False
        super().on_message_complete()

    def wait_for_rest(self, received: int) -> None:
        """A part of a request has come, and more is to."""
        self.received_at = self.loop.time()
        if self.slow_timer is None:
            self.begun_at = self.received_at
            self.slow_timer = self.loop.call_later(HEAD_SECONDS, self.too_slow)
        if not self.head_complete:
            self.head_bytes += received
            if self.head_bytes > HEAD_BYTES:
                self.refuse(TOO_LARGE)

    def stop_waiting(self) -> None:
        if self.slow_timer is not None:
            self.slow_timer.cancel()
            self.slow_timer = None

    def too_slow(self) -> None:
        self.slow_timer = None
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if not self.within_message:
            self.transport.close()  # not one byte came
        elif self.flow.read_paused or self.has_time(now):
            self.slow_timer = self.loop.call_later(BODY_PAUSE_SECONDS, self.too_slow)
        else:
            self.refuse(TIMEOUT)

    def has_time(self, now: float) -> bool:
        paused, taken = now - self.received_at, now - self.begun_at
        return self.head_complete and paused < BODY_PAUSE_SECONDS and taken < BODY_SECONDS

    def refuse(self, answer: bytes) -> None:
        """Hang up, and say why unless an answer has begun."""
        self.stop_waiting()
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or not (self.head_complete and cycle.response_started):
            self.transport.write(answer)
        self.transport.close()
