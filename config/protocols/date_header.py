"""The Date header of responses. Daphne sends none. Pages use the header as a clock for countdowns."""

from email.utils import formatdate
from typing import Any


class DateHeader:
    """ASGI middleware that adds the Date header to each response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_dated(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", formatdate(usegmt=True).encode())
                message = {**message, "headers": [*message.get("headers", ()), date]}
            await send(message)

        await self.app(scope, receive, send_dated if scope["type"] == "http" else send)
