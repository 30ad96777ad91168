"""The request id: in every log line of a request and in the response header X-Request-ID."""

import secrets
from typing import Any

from structlog.contextvars import bound_contextvars

from polls.http.lanes import SAFE_REQUEST_ID


class RequestId:
    """This is ASGI middleware rather than Django middleware, so that it covers the lanes of realtime too."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request_id = given_id(scope["headers"]) or secrets.token_hex(8).encode()

        async def send_with_id(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request_id)]}
            await send(message)

        with bound_contextvars(request_id=request_id.decode()):
            await self.app(scope, receive, send_with_id)


def given_id(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """Return the client's X-Request-ID unless it could forge a log line or fill the log."""
    for name, value in headers:
        if name == b"x-request-id" and SAFE_REQUEST_ID.fullmatch(value):
            return value
    return None
