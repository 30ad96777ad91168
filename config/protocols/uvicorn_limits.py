"""uvicorn's protocols with bounds on what a client may take, which hold with the fast path and without it.

The fast path (config/protocols/uvicorn_protocols.py) stands on these. On a uvicorn that it isn't made for
they serve alone; where they can't either, `serve` ends with a sentence instead of going on without bounds.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from config.protocols.read_timeouts import ImpatientHttp
from config.protocols.throttle import ALLOWED_BYTES, Inbox
from config.protocols.viewer_connection import end_talk

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


#: What a seam needs: of each class of uvicorn the attributes that its objects have, and its methods.
Seam = tuple[tuple[type, set[str], tuple[str, ...]], ...]

SEAM: Seam = (
    (
        WebSocketsSansIOProtocol,
        {"close_sent", "handshake_complete", "handshake_initiated", "read_paused", "transport"},
        ("connection_lost", "data_received", "send"),
    ),
    (
        HttpToolsProtocol,
        {"cycle", "flow", "headers", "loop", "parser", "scope", "transport"},
        (
            *("connection_made", "connection_lost", "data_received", "handle_websocket_upgrade"),
            *("on_message_begin", "on_headers_complete", "on_message_complete"),
            *("on_response_complete", "send_400_response"),
            *("_start_asgi_task", "_unset_keepalive_if_required"),
        ),
    ),
)


def is_known(seam: Seam) -> bool:
    """Whether this uvicorn has all that `seam` needs."""
    return all(
        names <= _names_in_init(base) and all(hasattr(base, name) for name in methods)
        for base, names, methods in seam
    )


def _names_in_init(base: type) -> set[str]:
    return set(cast(FunctionType, vars(base)["__init__"]).__code__.co_names)
