"""Fan-out with `websockets.broadcast` on uvloop: a message posted to /publish goes to all viewers.

As the library's documentation advises, compression is off, and `broadcast` replaces a loop of sends.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

viewers: set[ServerConnection] = set()
newest: str | None = None


async def serve_one(connection: ServerConnection) -> None:
    global newest
    assert connection.request
    if connection.request.path == "/publish":
        async for message in connection:
            assert isinstance(message, str)
            newest = message
            broadcast(viewers, newest)
        return
    viewers.add(connection)
    try:
        if newest is not None:
            await connection.send(newest)
        await connection.wait_closed()
    finally:
        viewers.discard(connection)


async def main() -> None:
    async with serve(serve_one, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=4096):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main())
