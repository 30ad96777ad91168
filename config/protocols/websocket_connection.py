"""A viewer's WebSocket after the hand-over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from websockets.frames import Close, Frame, Opcode

from config.protocols.keepalive import Keepalive
from config.protocols.throttle import GOODBYE_SECONDS
from config.protocols.viewer_connection import ViewerLine
from config.protocols.websocket_frames import Incoming
from realtime.handover import POLICY_VIOLATION

if TYPE_CHECKING:
    from realtime.handover import ConnectionListener
    from realtime.protocol import Message

PING = b"\x89\x00"
PONG, MASKED = 0x8A, 0x80
GOING_AWAY = 1012
NOT_ANSWERED = 1011
CLOSING_SECONDS = 10.0


class WebSocketLine(ViewerLine):
    """A WebSocket with nothing but shared frames going out, and hardly anything coming in."""

    __slots__ = ("answered", "incoming", "keepalive", "max_size", "slot")

    def __init__(
        self,
        watcher: ConnectionListener | None,
        transport: asyncio.Transport,
        connections: set[Any],
        keepalive: Keepalive | None = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__(watcher, transport, connections)
        self.keepalive = keepalive
        self.max_size = max_size
        self.incoming: Incoming | None = None
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
        """A message of this connection's own."""
        self.write(Frame(Opcode.TEXT if text else Opcode.BINARY, payload).serialize(mask=False))

    def data_received(self, data: bytes) -> None:
        if not self.answered:
            self.answered = True
            if self.incoming is None and _is_pong(data):
                return
        super().data_received(data)

    def take_in(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        incoming = self.incoming = self.incoming or Incoming(self.max_size)
        for text in incoming.receive(data):
            if self.watcher is not None:
                self.watcher.on_message(text)
        reply = incoming.to_send()
        # Not after a goodbye of ours; and what answers the pings of one that reads nothing would pile up.
        if reply and self.watcher is not None and (not self.writing_paused or incoming.over):
            self.write(reply)
        if incoming.over:
            self.hang_up()
        elif incoming.idle:
            self.incoming = None

    def too_talkative(self) -> None:
        self.leave()
        if self.writing_paused:
            self.transport.abort()
        else:
            end_talk(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.keepalive is not None:
            self.keepalive.discard(self)
        super().connection_lost(exc)

    def ping(self) -> None:
        if not self.writing_paused:  # one that is held up is watched by its room
            self.write(PING)

    def lost(self) -> None:
        self.write(close_frame(NOT_ANSWERED, "keepalive ping timeout"))
        self.hang_up()

    def close(self, code: int) -> None:
        """Say so and wait for the answer, as the closing handshake has it, but not for ever."""
        self.leave()
        self.write(close_frame(code))
        asyncio.get_running_loop().call_later(CLOSING_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """uvicorn stops serving."""
        self.write(close_frame(GOING_AWAY))
        self.hang_up()


def end_talk(transport: asyncio.Transport) -> None:
    """Say why, and hang up without reading on: an answer would stand behind all that the client has sent."""
    if transport.is_closing():
        return
    transport.write(close_frame(POLICY_VIOLATION, "too many messages"))
    transport.pause_reading()
    asyncio.get_running_loop().call_later(GOODBYE_SECONDS, transport.abort)


def close_frame(code: int, reason: str = "") -> bytes:
    payload = Close(code, reason).serialize()
    return b"\x88%c%b" % (len(payload), payload)


def _is_pong(data: bytes) -> bool:
    """Whether this is one whole pong and nothing else, which is most of what viewers ever send."""
    return len(data) >= 6 and data[0] == PONG and data[1] == MASKED | (len(data) - 6)
