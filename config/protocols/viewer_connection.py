"""Viewers' connections after uvicorn has handed them over: objects of a few hundred bytes each.

A connection has no task, queue or timer of its own. Shared bytes are written directly to the transport, and
events arrive as callbacks. The write buffer's limit is 0: `pause_writing` is called once the kernel's send
buffer is full.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from config.protocols.throttle import InputBuffer

if TYPE_CHECKING:
    from realtime.handover import ConnectionListener
    from realtime.protocol import Message

#: The size of the kernel's send buffer: small, so that a slow client is only a few tallies behind.
SEND_BUFFER_BYTES = 32 * 1024
#: TCP closes an event stream if sent data isn't acknowledged for this long. (Event streams have no pongs.)
UNACKNOWLEDGED_MILLISECONDS = 40_000


class ViewerConnection(asyncio.Protocol):
    """Base class of WebSocketConnection and EventStreamConnection."""

    __slots__ = ("connections", "input_buffer", "listener", "transport", "writing_paused")

    def __init__(
        self, listener: ConnectionListener | None, transport: asyncio.Transport, connections: set[Any]
    ) -> None:
        self.listener = listener
        self.transport = transport
        self.connections = connections
        self.writing_paused = False
        self.input_buffer: InputBuffer | None = None

    def take_over(self) -> None:
        """Become the transport's protocol in place of uvicorn's."""
        self.connections.add(self)
        bound_kernel_buffers(self.transport)
        self.transport.set_write_buffer_limits(high=0)
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.listener is not None:
            self.listener.on_writing_paused()

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.listener is not None:
            self.listener.on_writing_resumed()

    def data_received(self, data: bytes) -> None:
        if self.input_buffer is None:
            self.input_buffer = InputBuffer(self)
        self.input_buffer.add(data)

    def process_input(self, data: bytes) -> None:
        """Ignore what the client sends; subclasses may parse it."""

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def on_limit_exceeded(self) -> None:
        self.close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.input_buffer is not None:
            self.input_buffer.clear()
        self.connections.discard(self)
        self.notify_closed()

    def notify_closed(self) -> None:
        """Tell the listener, once, that the viewer has left. The transport may still be open."""
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.on_closed()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        self.notify_closed()
        self.transport.abort()

    def close_transport(self) -> None:
        """Close after flushing the write buffer. If the client isn't reading, abort at once."""
        self.notify_closed()
        if self.writing_paused:
            self.transport.abort()
        else:
            self.transport.close()


class EventStreamConnection(ViewerConnection):
    """An event stream whose response has begun.

    The response never ends, so pipelined requests are ignored.
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
        self.close_transport()


LAST_CHUNK = b"0\r\n\r\n"


def bound_kernel_buffers(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


class NullTransport:
    """Replaces uvicorn's transport after a handover, so that uvicorn can't close the connection."""

    def close(self) -> None:
        pass


def can_write_directly(transport: asyncio.Transport) -> bool:
    """Whether the transport is open and unencrypted, and its write buffer empty."""
    return (
        not transport.is_closing()
        and transport.get_write_buffer_size() == 0
        and transport.get_extra_info("sslcontext") is None
    )
