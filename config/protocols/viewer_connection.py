"""Connections of viewers that uvicorn handed over: an object of a few hundred bytes each.

No task, no queue, no timer of its own: shared bytes are written straight to the transport, and
what the client or the network does arrives as a callback. The transport's buffer is allowed
nothing, so it says at once when the client takes no more, and when it does again.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from websockets.frames import Close, Frame, Opcode

from config.protocols.keepalive import Keepalive
from config.protocols.throttle import GOODBYE_SECONDS, Inbox
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
#: What the kernel may keep for a client that is behind: a few tallies, not megabytes of old ones.
SEND_BUFFER_BYTES = 32 * 1024
#: Until data that nobody acknowledges ends the connection, where there is no pong to miss.
UNACKNOWLEDGED_MILLISECONDS = 40_000


class ViewerLine(asyncio.Protocol):
    """What a viewer's connections have in common, whatever the bytes mean."""

    __slots__ = ("connections", "inbox", "transport", "watcher", "writing_paused")

    def __init__(
        self, watcher: ConnectionListener | None, transport: asyncio.Transport, connections: set[Any]
    ) -> None:
        self.watcher = watcher
        self.transport = transport
        self.connections = connections
        self.writing_paused = False
        self.inbox: Inbox | None = None

    def take_over(self) -> None:
        """From here on the connection is ours."""
        self.connections.add(self)
        bound_kernel_buffers(self.transport)
        self.transport.set_write_buffer_limits(high=0)
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.watcher is not None:
            self.watcher.on_writing_paused()

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.watcher is not None:
            self.watcher.on_writing_resumed()

    def data_received(self, data: bytes) -> None:
        if self.inbox is None:
            self.inbox = Inbox(self)
        self.inbox.add(data)

    def take_in(self, data: bytes) -> None:
        """What the client sends means nothing, unless a subclass knows better."""

    def stop_reading(self) -> None:
        self.transport.pause_reading()

    def read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def too_talkative(self) -> None:
        self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.inbox is not None:
            self.inbox.clear()
        self.connections.discard(self)
        self.leave()

    def leave(self) -> None:
        """The viewer is gone, though the connection may not be quite yet."""
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.on_closed()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        self.leave()
        self.transport.abort()

    def hang_up(self) -> None:
        """Close as soon as what is written has left, which for one that takes nothing is at once."""
        self.leave()
        if self.writing_paused:
            self.transport.abort()
        else:
            self.transport.close()


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


class EventLine(ViewerLine):
    """A stream of server-sent events, whose response has begun in chunked coding.

    Another request behind this one, which is never answered to its end, has no turn.
    """

    __slots__ = ()

    def take_over(self) -> None:
        super().take_over()
        raw = self.transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MILLISECONDS)

    def send(self, message: Message) -> None:
        transport = self.transport
        if not transport.is_closing():
            transport.write(message.chunk)

    def close(self, code: int) -> None:
        self.shutdown()

    def shutdown(self) -> None:
        self.write(LAST_CHUNK)
        self.hang_up()


LAST_CHUNK = b"0\r\n\r\n"


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


def bound_kernel_buffers(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _is_pong(data: bytes) -> bool:
    """Whether this is one whole pong and nothing else, which is most of what viewers ever send."""
    return len(data) >= 6 and data[0] == PONG and data[1] == MASKED | (len(data) - 6)
