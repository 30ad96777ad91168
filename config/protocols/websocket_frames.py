"""What a viewer's client sends over its WebSocket, taken apart by the websockets library.

A viewer hardly ever sends anything, and the library's connection object is several times as
large as all else of an idle viewer: it is made when something comes and dropped when no frame
is left half received.
"""

from __future__ import annotations

import logging
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

logger = logging.getLogger("uvicorn.error")

INVALID_TEXT = 1007


class MessageParser:
    """Bytes in, text messages out; in between whatever RFC 6455 wants answered."""

    __slots__ = ("_parts", "_unparsed", "closed", "conn")

    def __init__(self, max_size: int | None, conn: ServerProtocol | None = None, parts: Any = None) -> None:
        """`conn` and `parts`: of a connection that has begun to receive already."""
        self.conn = conn or ServerProtocol(state=State.OPEN, max_size=max_size, logger=logger)
        # Bytes of a frame that isn't whole yet; unknown, and so for ever, for a connection taken over.
        self._unparsed: int | None = 0 if conn is None else None
        self._parts: list[bytes] | None = parts
        self.closed = False

    @property
    def idle(self) -> bool:
        """Nothing is half received: the next byte begins a message."""
        return self._unparsed == 0 and self._parts is None and self.conn.current_size is None

    def receive(self, data: bytes) -> list[str]:
        """The text messages that `data` completes. Binary ones mean nothing to us."""
        self.conn.receive_data(data)
        messages = []
        received = 0
        for frame in self.conn.events_received():
            assert isinstance(frame, Frame)
            received += _length_on_the_wire(frame)
            if frame.opcode is Opcode.CLOSE:
                self.closed = True
            elif (text := self._message(frame)) is not None:
                messages.append(text)
        if self._unparsed is not None:
            self._unparsed += len(data) - received
        if self.conn.parser_exc is not None:
            self.closed = True
        return messages

    def to_send(self) -> bytes:
        """Pongs, the answer to a close, or a close of our own where what came was malformed."""
        return b"".join(self.conn.data_to_send())

    def _message(self, frame: Frame) -> str | None:
        if frame.opcode is Opcode.TEXT:
            self._parts = []
        if self._parts is None or frame.opcode not in (Opcode.TEXT, Opcode.CONT):
            return None
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return None
        parts, self._parts = self._parts, None
        try:
            return b"".join(parts).decode()
        except UnicodeDecodeError:
            self.conn.fail(INVALID_TEXT)
            self.closed = True
            return None


def _length_on_the_wire(frame: Frame) -> int:
    """Of a client's frame, which is masked."""
    length = len(frame.data)
    return 2 + (0 if length < 126 else 2 if length < 65536 else 8) + 4 + length
