"""Send HTTP requests to an ASGI application in the test's event loop."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from tests.servers import PATIENCE

Headers = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""


def http_scope(method: str, path: str, headers: Headers, query: bytes = b"", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "root_path": "",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": headers,
        **more,
    }


async def ask(app: Any, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """Send the request and return the complete answer."""
    requests = asyncio.Queue[dict[str, Any]]()
    requests.put_nowait({"type": "http.request", "body": body, "more_body": False})
    answer = Answer()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            answer.body += message.get("body", b"")

    await app(scope, requests.get, send)
    return answer


class Stream:
    """A response that streams events until the client leaves."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.status, self.headers = 0, dict[bytes, bytes]()
        self.ended = False
        self._begun = asyncio.Event()
        self._arrived = asyncio.Event()
        self._leaving = asyncio.Event()
        self._asked = False
        self._text = b""
        self._running = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            self._begun.set()
        else:
            self._text += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        self._arrived.set()

    async def event(self) -> dict[str, str]:
        """Return the fields of the next event, as a browser reads them."""
        async with asyncio.timeout(PATIENCE):
            while b"\n\n" not in self._text:
                self._arrived.clear()
                await self._arrived.wait()
        block, _, self._text = self._text.partition(b"\n\n")
        return dict(line.split(": ", 1) for line in block.decode().split("\n"))

    async def begun(self) -> "Stream":
        async with asyncio.timeout(PATIENCE):
            await self._begun.wait()
        return self

    async def leave(self) -> None:
        self._leaving.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(self._running, PATIENCE)
