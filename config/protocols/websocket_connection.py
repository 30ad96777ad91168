"""A viewer's WebSocket after the handover."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from websockets.frames import Close, Frame, Opcode

from config.protocols.keepalive import Keepalive
from config.protocols.throttle import ABORT_AFTER_SECONDS
from config.protocols.viewer_connection import ViewerConnection
from config.protocols.websocket_frames import MessageParser
from realtime.handover import POLICY_VIOLATION

if TYPE_CHECKING:
    from realtime.handover import ConnectionListener
    from realtime.protocol import Message

PING = b"\x89\x00"
PONG, MASKED = 0x8A, 0x80
GOING_AWAY = 1012
NOT_ANSWERED = 1011
CLOSE_TIMEOUT_SECONDS = 10.0


class WebSocketConnection(ViewerConnection):
    """A WebSocket that sends shared frames and receives almost nothing."""

    __slots__ = ("answered", "keepalive", "max_size", "parser", "slot")

    def __init__(
        self,
        listener: ConnectionListener | None,
        transport: asyncio.Transport,
        connections: set[Any],
        keepalive: Keepalive | None = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__(listener, transport, connections)
        self.keepalive = keepalive
        self.max_size = max_size
        self.parser: MessageParser | None = None
        self.answered = True
        self.slot = 0

    def take_over(self) -> None:
        super().take_over()
        if self.keepalive is not None:
            self.keepalive.add(self)

    def send(self, message: Message) -> None:
        transport = self.transport
        if not transport.is_closing():
            transport.write(message.frame)

    def write_message(self, payload: bytes, text: bool) -> None:
        """Send a message to this connection only."""
        self.write(Frame(Opcode.TEXT if text else Opcode.BINARY, payload).serialize(mask=False))

    def data_received(self, data: bytes) -> None:
        if not self.answered:
            self.answered = True
            if self.parser is None and _is_pong(data):
                return
        super().data_received(data)

    def process_input(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        parser = self.parser = self.parser or MessageParser(self.max_size)
        for text in parser.receive(data):
            if self.listener is not None:
                self.listener.on_message(text)
        reply = parser.to_send()
        # Send nothing after our own close frame. To a client that doesn't read, pongs would pile up.
        if reply and self.listener is not None and (not self.writing_paused or parser.closed):
            self.write(reply)
        if parser.closed:
            self.close_transport()
        elif parser.idle:
            self.parser = None

    def on_limit_exceeded(self) -> None:
        self.notify_closed()
        if self.writing_paused:
            self.transport.abort()
        else:
            close_over_limit(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.keepalive is not None:
            self.keepalive.discard(self)
        super().connection_lost(exc)

    def ping(self) -> None:
        if not self.writing_paused:  # otherwise its channel aborts it after STALLED_SECONDS
            self.write(PING)

    def on_ping_timeout(self) -> None:
        self.write(close_frame(NOT_ANSWERED, "keepalive ping timeout"))
        self.close_transport()

    def close(self, code: int) -> None:
        """Send a close frame and wait for the client's close frame, at most CLOSE_TIMEOUT_SECONDS."""
        self.notify_closed()
        self.write(close_frame(code))
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """Close because the server shuts down. Called by uvicorn."""
        self.write(close_frame(GOING_AWAY))
        self.close_transport()


def close_over_limit(transport: asyncio.Transport) -> None:
    """Send a close frame and stop reading. Abort soon, without waiting for the client's close frame."""
    if transport.is_closing():
        return
    transport.write(close_frame(POLICY_VIOLATION, "too many messages"))
    transport.pause_reading()
    asyncio.get_running_loop().call_later(ABORT_AFTER_SECONDS, transport.abort)


def close_frame(code: int, reason: str = "") -> bytes:
    payload = Close(code, reason).serialize()
    return b"\x88%c%b" % (len(payload), payload)


def _is_pong(data: bytes) -> bool:
    """Whether this is exactly one pong. Viewers send little but pongs."""
    return len(data) >= 6 and data[0] == PONG and data[1] == MASKED | (len(data) - 6)
