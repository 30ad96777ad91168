"""A keep-alive connection with one request at a time and minimal parsing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.load.generator import Generator

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
CHUNKED = b"\r\ntransfer-encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"
WITHOUT_BODY = (b"204", b"304")


class Incomplete(Exception):
    """The answer isn't complete yet."""


def parse(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return status, lower-case head and body of a complete answer."""
    end = data.find(END_OF_HEAD)
    if end < 0:
        raise Incomplete
    status, head, start = data[9:12], data[:end].lower(), end + 4
    at = head.find(LENGTH)
    if at >= 0:
        stop = head.find(b"\r\n", at + len(LENGTH))
        length = int(head[at + len(LENGTH) : stop if stop >= 0 else end])
        if status not in WITHOUT_BODY and len(data) < start + length:
            raise Incomplete
    elif CHUNKED in head and not data.endswith(LAST_CHUNK):
        raise Incomplete
    return status, head, data[start:]


class Connection(asyncio.Protocol):
    __slots__ = ("_buffer", "_generator", "number", "sent_at", "transport")

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._buffer = b""
        self.transport: asyncio.Transport | None = None
        self.number = -1  # number of the request in progress
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class
        self._generator.opened(self)

    def send(self, number: int, request: bytes, now: float) -> None:
        assert self.transport
        self.number, self.sent_at = number, now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        try:
            status, head, body = parse(data)
        except Incomplete:
            self._buffer = data
            return
        self._buffer = b""
        number, self.number = self.number, -1
        closes = b"\r\nconnection: close" in head
        if closes:
            assert self.transport
            self.transport.close()
        self._generator.answered(self, number, status, head, body, reusable=not closes)

    def connection_lost(self, error: Exception | None) -> None:
        number, self.number = self.number, -1
        self._generator.lost(self, number)
