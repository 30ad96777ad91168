"""uvicorn's HTTP protocol with the fast path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HIGH_WATER_LIMIT

from config.protocols.handshake import Opening, answer_to
from config.protocols.keepalive import shared_keepalive
from config.protocols.uvicorn_limits import BoundedHttp
from config.protocols.viewer_connection import EventLine, HandedOver, may_be_written_to
from config.protocols.websocket_connection import WebSocketLine
from realtime.handover import HAND_OVER, Connection, ConnectionListener

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b"
)
#: The end of the path of event streams; other requests needn't carry the extension.
STREAM = b"/stream/"


class LandslideHttp(BoundedHttp):
    """uvicorn's, which hands event streams over, and offers whole requests to the fast lane unparsed."""

    #: Takes a request from its bytes, and replies now or later; False where it has to be parsed.
    take: (
        Callable[[bytes, Callable[[bytes, bytes], None], tuple[str, int] | None, str | None], bool] | None
    ) = None
    taken = False  # a request that hasn't been answered yet
    held = b""  # what came behind it
    ending = False  # the server wants to stop
    answered_at = 0.0
    default_lines: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")

    def data_received(self, data: bytes) -> None:
        if self.taken:
            self.held += data
            if len(self.held) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            return
        take = type(self).take
        if take and not self.within_message and self.has_answered():
            self.taken = True
            if take(data, self.reply, self.client, self.scheme):
                self.stop_waiting()
                return
            self.taken = False
        super().data_received(data)

    def reply(self, head: bytes, body: bytes) -> None:
        self.taken = False
        if self.transport.is_closing():
            return
        self.transport.write(b"%b%b\r\n%b" % (head, self._default_lines(), body))
        if self.ending:
            self.transport.close()
            return
        # One timer a connection, not one a request: it looks at the clock when it is due.
        self.answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_for_more(self.timeout_keep_alive)
        if self.held:
            data, self.held = self.held, b""
            self.flow.resume_reading()
            self.data_received(data)

    def _default_lines(self) -> bytes:
        """uvicorn's own headers, of which it makes a new list whenever the date changes."""
        headers = self.server_state.default_headers
        made_of, lines = LandslideHttp.default_lines
        if made_of is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            LandslideHttp.default_lines = headers, lines
        return lines

    def _wait_for_more(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        left = self.answered_at + self.timeout_keep_alive - self.loop.time()
        if self.taken or left > 0:
            self._wait_for_more(max(left, 1.0))
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Who has cast a ballot is still told what became of it."""
        if self.taken:
            self.ending = True
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        if self.url.partition(b"?")[0].endswith(STREAM):
            cast(Any, self.scope)["extensions"] = {HAND_OVER: self.hand_over}
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        accept = self.regular_handshake()
        if accept is None:
            super().handle_websocket_upgrade()
        else:
            self.open_websocket(accept)
        # The parser and its callbacks hold each other: let go now, not when garbage is next collected.
        self.parser = self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def regular_handshake(self) -> bytes | None:
        """The key's answer, where the handshake and the connection are such that we open it ourselves."""
        if self.config.ws_per_message_deflate or not may_be_written_to(self.transport):
            return None
        return answer_to(self.headers)

    def open_websocket(self, accept: bytes) -> None:
        self.connections.discard(self)
        self.transport.pause_reading()  # nothing may come before the answer
        default = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        head = SWITCHING % (accept, default)
        keepalive = shared_keepalive(self.loop, self.config.ws_ping_interval)
        line = WebSocketLine(None, self.transport, self.connections, keepalive, self.config.ws_max_size)
        opening = Opening(cast(Any, self.scope), self.url, line, head, self.early)
        line.watcher = opening
        task = self.loop.create_task(opening.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def hand_over(self, watcher: ConnectionListener) -> Connection | None:
        cycle = self.cycle
        if (
            not cycle.response_started
            or not cycle.chunked_encoding
            or cycle.disconnected
            or cycle.scope["http_version"] != "1.1"
            or cycle.scope["method"] != "GET"
            or cycle.more_body
            or self.pipeline
            or not may_be_written_to(self.transport)
        ):
            return None
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        # For uvicorn the client has left, so it misses no end of the response.
        cycle.disconnected = True
        line = EventLine(watcher, self.transport, self.connections)
        line.take_over()
        self.transport = cycle.transport = cast(Any, HandedOver())
        self.parser = None  # type: ignore[assignment]  # which holds this object, and is held by it
        return line
