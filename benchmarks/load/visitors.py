"""Visitors who take one step after another: page, voter endpoint, socket, ballot (`benchmarks.orders`).

Each visitor has a connection of its own, as a browser has, and a second one for its socket. All visitors take
a step before any visitor takes the next step, so the measuring process can read the server's CPU time between
two steps.
"""

from __future__ import annotations

import asyncio
import re
import resource
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvloop

from benchmarks.load.source import post
from benchmarks.orders import obey

AT_A_TIME = 32  # number of visitors who wait for an answer at the same time
PATIENCE = 60.0
BROWSER = (
    "User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
    " Mobile Safari/537.36\r\nAccept-Language: en-GB,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"
)
HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
COOKIE = re.compile(rb"\r\nset-cookie: *((?:voter|pass)=[^;\r]+)", re.IGNORECASE)


class Failed(Exception):
    """An answer wasn't as expected."""


class Wire:
    """A connection with one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: str) -> tuple[int, bytes]:
        """Return the status and head of the answer, and read its body."""
        self.writer.write(request.encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        if length := LENGTH.search(head):
            await self.reader.readexactly(int(length[1]))
        return int(head[9:12]), head


class Visitors:
    def __init__(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.wires: list[Wire] = []
        self.sockets: list[Wire] = []
        self.cookies: list[str] = []
        self.port = 0

    def do_arrive(self, port: int, count: int) -> dict[str, Any]:
        """Replace all visitors by `count` new visitors."""
        self._each([*self.wires, *self.sockets], self._hang_up)
        self.port, self.wires, self.sockets, self.cookies = port, [], [], [""] * count
        return {}

    def do_get(self, path: str, expect: int = 200, headers: str = "", given: Any = ()) -> dict[str, Any]:
        """Let each visitor fetch `path` and keep its cookies. `given` has each visitor's text for {given}."""
        accept = "Accept: */*\r\nSec-Fetch-Site: same-origin\r\n"

        async def one(number: int) -> None:
            wire = await self._wire(number)
            more = headers.replace("{given}", given[number]) if given else headers
            status, head = await wire.ask(self._request(path, number, accept + more))
            if status != expect:
                raise Failed(f"{path} answered with {status}")
            cookies = dict(pair.decode().split("=", 1) for pair in COOKIE.findall(head))
            if cookies:
                self.cookies[number] = "; ".join(f"{name}={value}" for name, value in cookies.items())

        return self._each(range(len(self.cookies)), one)

    def do_watch(self, path: str) -> dict[str, Any]:
        """Let each visitor open a socket and wait for its first message."""

        async def one(number: int) -> None:
            wire = await self._connect()
            status, _ = await wire.ask(self._request(path, number, HANDSHAKE))
            if status != 101:
                raise Failed(f"{path} answered with {status}")
            await wire.reader.readexactly(2)
            self.sockets.append(wire)

        return self._each(range(len(self.cookies)), one)

    def do_leave_sockets(self) -> dict[str, Any]:
        done = self._each(self.sockets, self._hang_up)
        self.sockets = []
        return done

    def do_cast(self, path: str, body: str, choices: list[int], expect: int) -> dict[str, Any]:
        """Let each visitor send a ballot. `body` contains {ballot_id} and {choice}."""

        async def one(number: int) -> None:
            wire = await self._wire(number)
            filled = body.replace("{ballot_id}", str(uuid.uuid4()))
            filled = filled.replace("{choice}", str(choices[number % len(choices)]))
            status, _ = await wire.ask(post(path, filled, cookie=self.cookies[number], headers=BROWSER))
            if status != expect:
                raise Failed(f"{path} answered with {status}")

        return self._each(range(len(self.cookies)), one)

    # --- helpers ---

    def _request(self, path: str, number: int, headers: str) -> str:
        cookie = f"Cookie: {self.cookies[number]}\r\n" if self.cookies[number] else ""
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{BROWSER}{cookie}{headers}\r\n"

    async def _wire(self, number: int) -> Wire:
        while len(self.wires) <= number:
            self.wires.append(await self._connect())
        return self.wires[number]

    async def _connect(self) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port))

    async def _hang_up(self, wire: Wire) -> None:
        wire.writer.close()
        with suppress(OSError):
            await wire.writer.wait_closed()

    def _each(self, items: Any, step: Callable[[Any], Awaitable[None]]) -> dict[str, Any]:
        """Carry out a step for all items, for AT_A_TIME items at once."""

        async def several() -> None:
            for item in left:
                await asyncio.wait_for(step(item), PATIENCE)

        async def all_of_them() -> None:
            await asyncio.gather(*(several() for _ in range(AT_A_TIME)))

        left = iter(items)
        self.runner.run(all_of_them())
        return {}


if __name__ == "__main__":
    obey(Visitors())
