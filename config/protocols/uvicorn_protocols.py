"""uvicorn's own protocol classes, and a way for the application to take a viewer's connection over.

`scope["extensions"]["landslide.hand_over"]`, called with a viewer's seat once its WebSocket is
accepted or its event stream has begun, returns a line to write shared bytes to; the application
then returns. Where a connection can't be handed over it returns None, and plain sends go on.

This leans on what uvicorn keeps to itself, so it says first whether that is as it was known. Where it isn't,
the fast path is left out, and what a client may take stays bounded (config/protocols/uvicorn_limits.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HIGH_WATER_LIMIT, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from config.protocols.handshake import Opening, answer_to
from config.protocols.keepalive import Keepalive
from config.protocols.uvicorn_limits import SEAM as BOUNDS
from config.protocols.uvicorn_limits import BoundedHttp, BoundedWebSocket, Seam, is_known
from config.protocols.viewer_connection import EventLine, WebSocketLine
from config.protocols.websocket_frames import Incoming
from realtime.handover import HAND_OVER, Connection, ConnectionListener

logger = logging.getLogger(__name__)

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b"
)
#: The end of the path of event streams; other requests needn't carry the extension.
STREAM = b"/stream/"


_keepalive: tuple[asyncio.AbstractEventLoop, Keepalive] | None = None


def shared_keepalive(loop: asyncio.AbstractEventLoop, interval: float | None) -> Keepalive | None:
    """The one of this event loop; None where no pings are wanted."""
    global _keepalive
    if not interval:
        return None
    if _keepalive is None or _keepalive[0] is not loop:
        _keepalive = loop, Keepalive(loop, int(interval))
    return _keepalive[1]


class HandedOver:
    """In the place of a transport that is somebody else's now: what its former owner ends, stays."""

    def close(self) -> None:
        pass


class LandslideWebSocket(BoundedWebSocket):
    """The handshake is uvicorn's; so is all else, until the application asks for the connection."""

    received = 0

    def take_in(self, data: bytes) -> None:
        self.received += 1
        super().take_in(data)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            cast(Any, self.scope)["extensions"][HAND_OVER] = self.hand_over

    def hand_over(self, watcher: ConnectionListener) -> Connection | None:
        if not self._may_be_handed_over():
            return None
        self.stop_keepalive()
        max_size = self.config.ws_max_size
        keepalive = shared_keepalive(self.loop, self.ping_interval)
        line = WebSocketLine(watcher, self.transport, self.connections, keepalive, max_size)
        if self.received > 1:  # more than the handshake came: a message may be half received
            line.incoming = Incoming(max_size, self.conn, self.frames or None)
        self.connections.discard(self)
        self.transport = cast(Any, HandedOver())
        line.take_over()
        self._pass_on(watcher)
        if self.inbox is not None:
            line.inbox, self.inbox = self.inbox, None
            line.inbox.hand_over(line)
        return line

    def _may_be_handed_over(self) -> bool:
        return (
            self.handshake_complete
            and not self.close_sent
            and not self.disconnected
            and not self.config.ws_per_message_deflate
            and may_be_written_to(self.transport)
        )

    def _pass_on(self, watcher: ConnectionListener) -> None:
        """What the client sent before anybody asked."""
        while not self.queue.empty():
            message: Any = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                self.loop.call_soon(watcher.on_message, message.get("text") or "")


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


def may_be_written_to(transport: asyncio.Transport) -> bool:
    """Bytes may go out as they are, and nothing waits before them."""
    return (
        not transport.is_closing()
        and transport.get_write_buffer_size() == 0
        and transport.get_extra_info("sslcontext") is None
    )


def classes() -> tuple[Any, Any]:
    """For uvicorn's `http=` and `ws=`: the fast ones, or on an unknown uvicorn those that only set bounds."""
    if not is_known(BOUNDS):
        raise SystemExit(
            f"Landslide doesn't know uvicorn {uvicorn.__version__}, so it can't protect it from slow clients."
            " Install the version in requirements.txt, or serve with Daphne (--server daphne)."
        )
    if seam_is_known():
        return LandslideHttp, LandslideWebSocket
    logger.warning("uvicorn_unknown: viewers are served by plain sends")
    return BoundedHttp, BoundedWebSocket


def seam_is_known() -> bool:
    return is_known(SEAM)


#: What the fast path needs beyond the bounds.
SEAM: Seam = (
    (
        WebSocketsSansIOProtocol,
        {
            *("close_sent", "config", "conn", "connections", "disconnected", "frames"),
            *("handshake_complete", "loop", "ping_interval", "queue", "transport"),
        },
        ("data_received", "handle_connect", "stop_keepalive"),
    ),
    (
        HttpToolsProtocol,
        {
            *("client", "connections", "cycle", "flow", "parser", "pipeline", "scheme", "scope"),
            *("server_state", "timeout_keep_alive", "timeout_keep_alive_task", "transport"),
        },
        (
            *("data_received", "handle_websocket_upgrade", "shutdown", "on_headers_complete"),
            *("on_message_begin", "on_message_complete", "connection_made", "connection_lost"),
            *("timeout_keep_alive_handler", "_unset_keepalive_if_required"),
        ),
    ),
)
