"""Limit of request bodies. Without a limit, Django would read a whole body before a view could refuse it."""

from typing import Any

import msgspec

from polls.errors import TooLarge, problem_details
from polls.http.lanes import encode_headers
from polls.text.integers import whole_number


class BodyLimit:
    """ASGI middleware: answers 413 to a Content-Length over the limit, and disconnects at a body over it."""

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if (whole_number(length) or 0) > self.limit:
            await self._refuse(send)
            return
        received = 0

        async def receive_within_limit() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message if received <= self.limit else {"type": "http.disconnect"}

        await self.app(scope, receive_within_limit, send)

    @staticmethod
    async def _refuse(send: Any) -> None:
        status, headers, document = problem_details(TooLarge())
        raw = encode_headers(headers)
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": msgspec.json.encode(document)})
