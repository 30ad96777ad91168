"""uvicorn's protocols with limits against slow and flooding clients.

The fast path (uvicorn_http.py, uvicorn_websocket.py) builds on these classes. If uvicorn lacks a private name
that the fast path needs, Landslide serves with these classes. If it lacks a name that these classes need,
`serve` refuses to start.
"""

from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from config.protocols.read_timeouts import ReadTimeoutHttp
from config.protocols.throttle import ALLOWED_BYTES, InputBuffer
from config.protocols.websocket_connection import close_over_limit

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """WebSocket protocol that throttles its input and answers a malformed handshake with 400."""

    input_buffer: InputBuffer | None = None  # None until the handshake
    early_data = b""  # bytes received before the handshake was answered

    def data_received(self, data: bytes) -> None:
        if self.input_buffer is None:
            self.input_buffer = InputBuffer(self)
            self.process_input(data)
            if not self.handshake_initiated and not self.transport.is_closing():
                self.transport.write(BAD_REQUEST)
                self.transport.close()
        elif self.handshake_complete:
            self.input_buffer.add(data)
        elif len(self.early_data) + len(data) <= ALLOWED_BYTES:
            self.early_data += data
        else:
            self.transport.abort()

    async def send(self, message: Any) -> None:
        if self.close_sent:
            return  # closed by the client; the application doesn't know yet
        await super().send(message)
        if self.early_data and self.handshake_complete and self.input_buffer is not None:
            early_data, self.early_data = self.early_data, b""
            self.input_buffer.add(early_data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.input_buffer is not None:
            self.input_buffer.clear()
        super().connection_lost(exc)

    def process_input(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def on_limit_exceeded(self) -> None:
        close_over_limit(self.transport)

    def abort(self) -> None:
        self.transport.abort()


class BoundedHttp(ReadTimeoutHttp):
    """HTTP protocol with all limits. Bytes that came with a WebSocket handshake go to the new protocol."""

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        early_data, self.early_data = self.early_data, b""
        if early_data:
            cast(Any, self.transport.get_protocol()).data_received(early_data)
