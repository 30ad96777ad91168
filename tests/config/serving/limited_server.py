"""`python limited_server.py SERVER [NAME]`: print the port, and serve an echo.

NAME is removed from uvicorn's HTTP protocol, as if this were a later release of uvicorn without it. A request
for `/?HEAD=0.5` sets that time limit, and the others to ten minutes.
"""

import os
import sys
from typing import Any
from urllib.parse import parse_qs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402

from config.protocols import limits  # noqa: E402
from config.security.body_limit import BodyLimit  # noqa: E402
from config.serving import web  # noqa: E402

BODY_BYTES = 200_000
TIME_LIMITS = ("FIRST_BYTE", "HEAD", "BODY_PAUSE", "BODY")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with the length of its body, and each WebSocket message with its length."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(len(message.get("text") or ""))})
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    set_time_limits(parse_qs(scope["query_string"].decode()))
    answer = str(size).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def set_time_limits(wanted: dict[str, list[str]]) -> None:
    if wanted:
        for name in TIME_LIMITS:
            setattr(limits, f"{name}_SECONDS", float(wanted.get(name, ["600"])[0]))


async def application(scope: Any, receive: Any, send: Any) -> None:
    limited = BodyLimit(echo, BODY_BYTES) if scope["type"] == "http" else echo
    await limited(scope, receive, send)


def main(server: str, missing: str = "") -> None:
    settings.ASGI_APPLICATION = "tests.config.serving.limited_server.application"
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_BYTES
    if missing:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        delattr(HttpToolsProtocol, missing)
    listener = web.listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    web.runner(server)(listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
