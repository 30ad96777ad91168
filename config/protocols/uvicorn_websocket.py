"""uvicorn's WebSocket protocol, with handover of its connection (realtime/handover.py)."""

from typing import Any, cast

from config.protocols.keepalive import shared_keepalive
from config.protocols.uvicorn_limits import BoundedWebSocket
from config.protocols.viewer_connection import NullTransport, can_write_directly
from config.protocols.websocket_connection import WebSocketConnection
from config.protocols.websocket_frames import MessageParser
from realtime.handover import HAND_OVER, Connection, ConnectionListener


class LandslideWebSocket(BoundedWebSocket):
    """A WebSocket that uvicorn serves until the application takes over the connection."""

    reads = 0

    def process_input(self, data: bytes) -> None:
        self.reads += 1
        super().process_input(data)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            cast(Any, self.scope)["extensions"][HAND_OVER] = self.hand_over

    def hand_over(self, listener: ConnectionListener) -> Connection | None:
        if not self._may_be_handed_over():
            return None
        self.stop_keepalive()
        max_size = self.config.ws_max_size
        keepalive = shared_keepalive(self.loop, self.ping_interval)
        connection = WebSocketConnection(listener, self.transport, self.connections, keepalive, max_size)
        if self.reads > 1:  # more than the handshake: a message may be half received
            connection.parser = MessageParser(max_size, self.conn, self.frames or None)
        self.connections.discard(self)
        self.transport = cast(Any, NullTransport())
        connection.take_over()
        self._deliver_queued(listener)
        if self.input_buffer is not None:
            connection.input_buffer, self.input_buffer = self.input_buffer, None
            connection.input_buffer.hand_over(connection)
        return connection

    def _may_be_handed_over(self) -> bool:
        return (
            self.handshake_complete
            and not self.close_sent
            and not self.disconnected
            and not self.config.ws_per_message_deflate
            and can_write_directly(self.transport)
        )

    def _deliver_queued(self, listener: ConnectionListener) -> None:
        """Deliver the messages that arrived before the handover."""
        while not self.queue.empty():
            message: Any = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                self.loop.call_soon(listener.on_message, message.get("text") or "")
