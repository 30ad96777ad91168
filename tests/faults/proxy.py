"""A TCP proxy in front of a store. It loses chosen requests or replies."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from tests.servers import free_port

#: "reset" ends the connection with a RST. "silence" keeps it open, but forwards no more bytes.
How = Literal["reset", "silence"]
#: What is lost: the "request", which the store never receives, or the "reply" to a request that was carried
#: out.
What = Literal["request", "reply"]

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a RST


@dataclass
class Cut:
    """Lose `times` requests that contain the bytes `at`, or their replies."""

    how: How
    what: What
    at: bytes
    times: int


class Proxy:
    """Listen on `port` and forward every connection to `target`, another port of this machine."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._cut: Cut | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        self.taken = 0  # how many requests or replies were lost

    # --- from any thread ---

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    def lose(self, how: How, what: What, at: bytes, times: int = 1) -> None:
        self._cut = Cut(how, what, at, times)

    def heal(self) -> None:
        """Lose nothing more. Silent connections stay silent until their client closes them."""
        self._cut = None

    def stop(self) -> None:
        if self._thread.is_alive():
            self._call(self._hang_up())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # --- on the loop ---

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _hang_up(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for writer in list(self._streams):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()  # the store is away
            return
        self._streams |= {writer, far_writer}
        line = _Line(self, writer, far_writer)
        ways = [asyncio.create_task(line.requests(reader)), asyncio.create_task(line.replies(far_reader))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._streams -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    def take(self, data: bytes) -> Cut | None:
        """Return the cut that applies to these bytes from a client, or None."""
        cut = self._cut
        if cut is None or cut.at not in data:
            return None
        cut.times -= 1
        if cut.times <= 0:
            self._cut = None
        self.taken += 1
        return cut


class _Line:
    """One connection through the proxy. It ends as soon as one of its two directions ends."""

    def __init__(self, proxy: Proxy, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._proxy, self._near, self._far = proxy, near, far
        self._cut: Cut | None = None  # the cut that applies to the next reply
        self._silent = False

    async def requests(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 18):
            if self._silent:
                continue
            cut = self._proxy.take(data)
            if cut and cut.what == "request":
                if self._lose(cut):
                    return
                continue
            self._cut = self._cut or cut
            self._far.write(data)
            await self._far.drain()

    async def replies(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 18):
            if self._cut and not self._silent and self._lose(self._cut):
                return
            if not self._silent:
                self._near.write(data)
                await self._near.drain()
        if self._silent:
            await asyncio.Event().wait()  # until the client closes the connection

    def _lose(self, cut: Cut) -> bool:
        """Make the connection silent, or prepare it to end with a RST. True if it must be closed."""
        if cut.how == "silence":
            self._silent = True
            return False
        plug: socket.socket = self._near.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        return True
