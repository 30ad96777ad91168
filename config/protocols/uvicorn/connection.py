"""uvicorn's HTTP protocol with the raw lane, our own WebSockets, and handover of event streams."""

from collections.abc import Callable
from typing import Any, cast

from config.protocols.handshake import WebSocketHandshake, accept_key_for
from config.protocols.keepalive import shared_keepalive
from config.protocols.uvicorn.read_timeouts import ReadTimeoutHttp
from config.protocols.viewer_connection import EventStreamConnection, NullTransport, can_write_directly
from config.protocols.websocket_connection import WebSocketConnection
from realtime.handover import HAND_OVER, Connection, ConnectionListener

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b"
)
#: The answer to a malformed handshake (RFC 6455, 4.2.2).
BAD_HANDSHAKE = (
    b"HTTP/1.1 400 Bad Request\r\nsec-websocket-version: 13\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
#: The raw lane stops at this many bytes of pipelined requests, or of responses that the client hasn't read.
HIGH_WATER_LIMIT = 64 * 1024
#: The paths of event streams end like this. Only the scopes of event streams get the handover extension.
STREAM = b"/stream/"


class LandslideHttp(ReadTimeoutHttp):
    """An HTTP connection that offers each read to `raw_lane` before parsing it."""

    #: The raw lane takes a request's bytes and calls `reply`, now or later. It returns False if the request
    #: must be parsed.
    raw_lane: (
        Callable[[bytes, Callable[[bytes, bytes], None], tuple[str, int] | None, str | None], bool] | None
    ) = None
    answering = False  # whether the raw lane is answering a request
    pipelined = b""  # bytes received while the raw lane is answering
    shutting_down = False  # whether to close after the reply
    answered_at = 0.0
    header_cache: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")

    def data_received(self, data: bytes) -> None:
        if self.answering:
            self.pipelined += data
            if len(self.pipelined) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            return
        # A client that doesn't read its responses needs the server's flow control, so it doesn't get the raw
        # lane.
        reads = self.transport.get_write_buffer_size() < HIGH_WATER_LIMIT
        raw_lane = type(self).raw_lane
        if raw_lane and reads and not self.in_request and self.is_idle():
            self.answering = True
            if raw_lane(data, self.reply, self.client, self.scheme):
                self.cancel_read_timer()
                return
            self.answering = False
        super().data_received(data)

    def reply(self, head: bytes, body: bytes) -> None:
        self.answering = False
        if self.transport.is_closing():
            return
        self.transport.write(b"%b%b\r\n%b" % (head, self._default_headers(), body))
        if self.shutting_down:
            self.transport.close()
            return
        # One timer per connection instead of one per request. When the timer fires, it checks `answered_at`.
        self.answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._start_keepalive_timer(self.timeout_keep_alive)
        if self.pipelined:
            data, self.pipelined = self.pipelined, b""
            self.flow.resume_reading()
            self.data_received(data)

    def _default_headers(self) -> bytes:
        """Return uvicorn's default headers as bytes. uvicorn makes a new list when the date changes."""
        headers = self.server_state.default_headers
        made_of, lines = LandslideHttp.header_cache
        if made_of is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            LandslideHttp.header_cache = headers, lines
        return lines

    def _start_keepalive_timer(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        left = self.answered_at + self.timeout_keep_alive - self.loop.time()
        if self.answering or left > 0:
            self._start_keepalive_timer(max(left, 1.0))
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Close now, or after the reply if the raw lane is casting a ballot."""
        if self.answering:
            self.shutting_down = True
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        if self.url.partition(b"?")[0].endswith(STREAM):
            cast(Any, self.scope)["extensions"] = {HAND_OVER: self.hand_over}
        super().on_headers_complete()

    def is_handshake(self) -> bool:
        # A handshake that follows a response that the client hasn't read yet is treated as a plain request.
        return super().is_handshake() and can_write_directly(self.transport)

    def open_websocket(self, early_data: bytes) -> None:
        accept = accept_key_for(self.headers)
        if accept is None:
            self.transport.write(BAD_HANDSHAKE)
            self.transport.close()
        else:
            self.start_handshake(accept, early_data)
        # Break the reference cycle of parser and callbacks now, so that it needs no garbage collection.
        self.parser = self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def start_handshake(self, accept: bytes, early_data: bytes) -> None:
        self.connections.discard(self)
        self.transport.pause_reading()  # no frame may be processed before the handshake is answered
        head = SWITCHING % (accept, self._default_headers())
        keepalive = shared_keepalive(self.loop, self.config.ws_ping_interval)
        connection = WebSocketConnection(
            None, self.transport, self.connections, keepalive, self.config.ws_max_size
        )
        handshake = WebSocketHandshake(cast(Any, self.scope), self.url, connection, head, early_data)
        connection.listener = handshake
        task = self.loop.create_task(handshake.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def hand_over(self, listener: ConnectionListener) -> Connection | None:
        cycle = self.cycle
        if (
            not cycle.response_started
            or not cycle.chunked_encoding
            or cycle.disconnected
            or cycle.scope["http_version"] != "1.1"
            or cycle.scope["method"] != "GET"
            or cycle.more_body
            or self.pipeline
            or not can_write_directly(self.transport)
        ):
            return None
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        # Tell uvicorn that the client has disconnected, so that it doesn't wait for the end of the response.
        cycle.disconnected = True
        connection = EventStreamConnection(listener, self.transport, self.connections)
        connection.take_over()
        self.transport = cycle.transport = cast(Any, NullTransport())
        self.parser = None  # type: ignore[assignment]  # breaks a reference cycle
        return connection
