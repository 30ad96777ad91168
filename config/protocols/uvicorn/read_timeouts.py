"""The read timeouts and the header limit of limits.py on uvicorn, which has neither.

Nearly all requests arrive in one read, and such requests start no timer.
"""

import asyncio
from typing import Any, cast

from config.protocols import limits
from config.protocols.uvicorn.http_framing import StrictFramingHttp


class ReadTimeoutHttp(StrictFramingHttp):
    """uvicorn's HTTP protocol with read timeouts and a limit on the size of headers."""

    in_request = False
    head_complete = False
    head_bytes = 0
    request_started_at = last_data_at = 0.0
    read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.read_timer = self.loop.call_later(limits.FIRST_BYTE_SECONDS, self.on_read_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self.cancel_read_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then time the rest of the request. Empty lines before a request don't extend the timeout."""
        super().data_received(data)
        if cast(Any, self.parser) is None:
            self.cancel_read_timer()  # the connection was handed over
        elif self.in_request and not self.transport.is_closing():
            self.start_read_timer(len(data))

    def on_message_begin(self) -> None:
        self.cancel_read_timer()
        self._unset_keepalive_if_required()
        self.in_request, self.head_complete, self.head_bytes = True, False, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.cancel_read_timer()
        self.in_request = False
        super().on_message_complete()

    def start_read_timer(self, received: int) -> None:
        """Start the timer unless it runs; refuse the request if its headers exceed HEAD_BYTES."""
        self.last_data_at = self.loop.time()
        if self.read_timer is None:
            self.request_started_at = self.last_data_at
            self.read_timer = self.loop.call_later(limits.HEAD_SECONDS, self.on_read_timeout)
        if not self.head_complete:
            self.head_bytes += received
            if self.head_bytes > limits.HEAD_BYTES:
                self.refuse(limits.HEAD_TOO_LARGE)

    def cancel_read_timer(self) -> None:
        if self.read_timer is not None:
            self.read_timer.cancel()
            self.read_timer = None

    def on_read_timeout(self) -> None:
        self.read_timer = None
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if not self.in_request:
            self.transport.close()  # no request has begun
        elif self.flow.read_paused or self.body_may_continue(now):
            self.read_timer = self.loop.call_later(limits.BODY_PAUSE_SECONDS, self.on_read_timeout)
        else:
            self.refuse(limits.TIMEOUT)

    def body_may_continue(self, now: float) -> bool:
        paused, taken = now - self.last_data_at, now - self.request_started_at
        return self.head_complete and paused < limits.BODY_PAUSE_SECONDS and taken < limits.BODY_SECONDS

    def refuse(self, answer: bytes) -> None:
        """Close the connection. Send an error response first, unless a response has begun."""
        self.cancel_read_timer()
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or not (self.head_complete and cycle.response_started):
            self.transport.write(answer)
        self.transport.close()
