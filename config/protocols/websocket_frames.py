"""Parsing of a viewer's WebSocket messages, with the websockets library.

A viewer rarely sends anything, and the library's connection object is several times larger than all other
objects of an idle viewer. That object exists only while a message is being received.
"""

import logging

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

logger = logging.getLogger("uvicorn.error")

INVALID_TEXT = 1007


class MessageParser:
    """Parse bytes into text messages, and produce the answers that RFC 6455 requires."""

    __slots__ = ("_parts", "_unparsed", "closed", "conn")

    def __init__(self, max_size: int | None) -> None:
        self.conn = ServerProtocol(state=State.OPEN, max_size=max_size, logger=logger)
        self._unparsed = 0  # bytes of an incomplete frame
        self._parts: list[bytes] | None = None
        self.closed = False

    @property
    def idle(self) -> bool:
        """Whether every message that has begun is complete."""
        return self._unparsed == 0 and self._parts is None and self.conn.current_size is None

    def receive(self, data: bytes) -> list[str]:
        """Return the text messages that `data` completes. Binary messages are ignored."""
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
        self._unparsed += len(data) - received
        if self.conn.parser_exc is not None:
            self.closed = True
        return messages

    def to_send(self) -> bytes:
        """Return pongs, the answer to a close frame, or our close frame after malformed input."""
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
    """Return the length of a client's frame with its header and mask."""
    length = len(frame.data)
    return 2 + (0 if length < 126 else 2 if length < 65536 else 8) + 4 + length
