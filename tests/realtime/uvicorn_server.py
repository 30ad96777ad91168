"""uvicorn with Landslide's protocols in the test's event loop, serving the test's own application."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from config.protocols.uvicorn.connection import LandslideHttp
from realtime.handover import HAND_OVER, Connection
from tests.servers import PATIENCE


class Recorder:
    """A subscriber that only records what its connection reports."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.told: list[str] = []
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)

    def on_writing_paused(self) -> None:
        self.told.append("paused")

    def on_writing_resumed(self) -> None:
        self.told.append("resumed")

    def on_closed(self) -> None:
        self.told.append("closed")


class Handing:
    """An application that hands over every connection as soon as `ready` is set."""

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.ready = asyncio.Event()
        self.ready.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await self.ready.wait()
        recorder = Recorder()
        recorder.connection = scope["extensions"][HAND_OVER](recorder)
        self.recorders.append(recorder)

    async def recorder(self) -> Recorder:
        """Wait for the next connection that is handed over, and return its recorder."""
        async with asyncio.timeout(PATIENCE):
            while not self.recorders:
                await asyncio.sleep(0.005)
        return self.recorders.pop(0)


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Run the server on loopback. Yield the server and its port."""
    config = uvicorn.Config(
        app,
        **{
            "http": LandslideHttp,
            "ws": "none",
            "ws_max_size": 1000,
            "lifespan": "off",
            "log_config": None,
            "timeout_graceful_shutdown": 2,
        }
        | options,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Not serve(), which installs signal handlers in this process.
        running = asyncio.ensure_future(server._serve(sockets=[listener]))
        async with asyncio.timeout(PATIENCE):
            while not server.started:
                await asyncio.sleep(0.005)
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running
