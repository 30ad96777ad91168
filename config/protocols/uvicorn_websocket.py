"""uvicorn's WebSocket protocol, and a way to take its connection over."""

from __future__ import annotations

from typing import Any, cast

from config.protocols.keepalive import shared_keepalive
from config.protocols.uvicorn_limits import BoundedWebSocket
from config.protocols.viewer_connection import HandedOver, may_be_written_to
from config.protocols.websocket_connection import WebSocketLine
from config.protocols.websocket_frames import Incoming
from realtime.handover import HAND_OVER, Connection, ConnectionListener


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
