"""A viewer's connection. The server takes the connection over, or the connection uses plain ASGI messages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.channels import Subscriber
from realtime.handover import HAND_OVER, ConnectionListener
from realtime.hub import get_hub
from realtime.protocol import Message


async def hand_over(subscriber: Subscriber, scope: dict[str, Any]) -> bool:
    """Let the server take the connection over, and subscribe the viewer. Return False if it can't."""
    take_over = (scope.get("extensions") or {}).get(HAND_OVER)
    connection = take_over(subscriber) if take_over else None
    if connection is None:
        return False
    subscriber.channel.subscribe(subscriber, connection)
    await get_hub().check_access(subscriber)
    return True


class ASGIConnection:
    """Sends messages one by one in its own task. Writing is paused until all messages are sent."""

    def __init__(self, listener: ConnectionListener, send: Callable[[Message], Awaitable[None]]) -> None:
        self.writing_paused = False
        self._listener = listener
        self._send = send
        self._waiting: list[Message] = []
        self._wake = asyncio.Event()
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def send(self, message: Message) -> None:
        self._waiting.append(message)
        self._wake.set()
        if not self.writing_paused:
            self.writing_paused = True
            self._listener.on_writing_paused()

    def close(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)

    def abort(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def run(self, reading: Awaitable[None], max_seconds: float | None = None) -> int | None:
        """Run until `reading` ends, close() or abort() is called, or time is up. Return the close code."""
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in (reading, self._write())]
        try:
            await asyncio.wait([*tasks, self.ended], timeout=max_seconds, return_when=asyncio.FIRST_COMPLETED)
            return self.ended.result() if self.ended.done() else None
        finally:
            self._listener.on_closed()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._waiting = self._waiting, []
            for message in messages:
                await self._send(message)
            if not self._waiting:
                self.writing_paused = False
                self._listener.on_writing_resumed()
