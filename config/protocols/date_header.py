"""The Date header, which Daphne leaves out and uvicorn adds: countdowns go by it, not by a phone's clock."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any


class DateHeader:
    """Plain ASGI round an application that is served by Daphne."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_dated(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", formatdate(usegmt=True).encode())
                message = {**message, "headers": [*message.get("headers", ()), date]}
            await send(message)

        await self.app(scope, receive, send_dated if scope["type"] == "http" else send)
