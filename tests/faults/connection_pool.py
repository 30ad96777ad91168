"""The load's HTTP client: keep-alive connections on raw sockets, one request at a time on each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from benchmarks.load.wire import Incomplete, parse

#: A request without an answer after this time hangs. A cast has a deadline of ten seconds, and its waiting
#: time before that is bounded.
HUNG_SECONDS = 25.0


class Lost(Exception):
    """The connection ended before the answer. The server may or may not have carried out the request."""


class Hung(Lost):
    """The connection stayed open, but no answer arrived in time."""


@dataclass(frozen=True, slots=True)
class Heard:
    status: int
    head: str
    document: Any

    @property
    def retry_after(self) -> str:
        _, found, rest = self.head.partition("\r\nretry-after:")
        return rest.partition("\r\n")[0].strip() if found else ""


class ConnectionPool:
    """At most `most` connections to one server. `ask` takes a free connection or opens another."""

    def __init__(self, port: int, most: int = 32) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._places = asyncio.Semaphore(most)

    async def ask(self, method: str, path: str, headers: str = "", body: bytes = b"") -> Heard:
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        async with self._places:
            try:
                async with asyncio.timeout(HUNG_SECONDS):
                    return await self._ask(request)
            except TimeoutError:
                raise Hung(f"no answer in {HUNG_SECONDS:.0f} s") from None
            except OSError as error:
                raise Lost(type(error).__name__) from None

    async def _ask(self, request: bytes) -> Heard:
        # A free connection may have been closed by the server meanwhile. The request is then Lost, as with
        # any other connection that ends.
        line = self._free.pop() if self._free else await self._open()
        reader, writer = line
        try:
            writer.write(request)
            heard = await self._read(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if "\r\nconnection: close" in heard.head:
            writer.close()
        else:
            self._free.append(line)
        return heard

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)

    async def _read(self, reader: asyncio.StreamReader) -> Heard:
        data = b""
        while True:
            part = await reader.read(1 << 20)
            if not part:
                raise Lost("the connection ended")
            data += part
            try:
                status, head, body = parse(data)
            except Incomplete:
                continue
            try:
                document = json.loads(body) if body else None
            except ValueError:
                document = None
            return Heard(int(status), head.decode("latin-1"), document)

    async def close(self) -> None:
        for _, writer in self._free:
            writer.close()
        self._free.clear()
