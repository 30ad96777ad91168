"""uvicorn's protocols with bounds on what a client may take, which hold with the fast path and without it.

The fast path (config/protocols/uvicorn_protocols.py) stands on these. On a uvicorn that it isn't made for
they serve alone; where they can't either, `serve` ends with a sentence instead of going on without bounds.
"""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from config.protocols.read_timeouts import ImpatientHttp
from config.protocols.throttle import ALLOWED_BYTES, Inbox
from config.protocols.websocket_connection import end_talk

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's, which processes what comes in slices, and answers a handshake that it can't read."""

    inbox: Inbox | None = None  # from the handshake on
    early = b""  # what came before the handshake was answered

    def data_received(self, data: bytes) -> None:
        if self.inbox is None:
            self.inbox = Inbox(self)
            self.take_in(data)
            if not self.handshake_initiated and not self.transport.is_closing():
                self.transport.write(BAD_REQUEST)
                self.transport.close()
        elif self.handshake_complete:
            self.inbox.add(data)
        elif len(self.early) + len(data) <= ALLOWED_BYTES:
            self.early += data
        else:
            self.transport.abort()

    async def send(self, message: Any) -> None:
        if self.close_sent:
            return  # the client has closed it meanwhile, which the application will hear
        await super().send(message)
        if self.early and self.handshake_complete and self.inbox is not None:
            early, self.early = self.early, b""
            self.inbox.add(early)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.inbox is not None:
            self.inbox.clear()
        super().connection_lost(exc)

    def take_in(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def stop_reading(self) -> None:
        self.transport.pause_reading()

    def read_on(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def too_talkative(self) -> None:
        end_talk(self.transport)

    def abort(self) -> None:
        self.transport.abort()


class BoundedHttp(ImpatientHttp):
    """Whole requests in time, and WebSockets whose first bytes may have come with the handshake."""

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        early, self.early = self.early, b""
        if early:
            cast(Any, self.transport.get_protocol()).data_received(early)
