"""The tally as server-sent events, for clients without WebSocket. The messages are the same.

The module is plain ASGI ahead of Django, so that a stream holds no thread. Other methods, unknown polls and
clients that accept no event stream are passed on to the view at the same address (event_stream_schema.py),
which refuses them.
"""

import logging
import random
import re
from typing import Any

from polls.http.lanes import Scope, host_allowed, is_secure
from polls.http.origins import origin_allowed, origin_of
from polls.models import Visibility, canonical_code
from realtime.channels import Channel, Subscriber
from realtime.connections.asgi_connection import ASGIConnection, hand_over
from realtime.hub import get_hub
from realtime.protocol import Message

logger = logging.getLogger(__name__)

PATH = re.compile(r"/api/v1/polls/([^/]+)/stream/")
SUFFIX = "/stream/"
#: How long a client waits before it reconnects. The time is random, since all clients lose a server at the
#: same moment.
RETRY_MILLISECONDS = (1000, 4000)
#: A stream that wasn't handed over ends after this time, since the server may buffer for a stalled client
#: without limit.
MAX_STREAM_SECONDS = 300.0

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class EventStreamLane:
    """Serve event streams, and pass everything else on to Django."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        channel = await _requested_channel(scope) if scope["path"].endswith(SUFFIX) else None
        if channel is None:
            await self.app(scope, receive, send)
        else:
            await _stream(channel, scope, receive, send)


async def _requested_channel(scope: Scope) -> Channel | None:
    """Return the channel of the requested stream, or None if Django must answer the request."""
    path = PATH.fullmatch(scope["path"])
    headers = dict(scope["headers"])
    if (
        path is None
        or scope["method"] != "GET"
        or not accepts_events(headers.get(b"accept", b""))
        or not host_allowed(_host(scope, headers))
    ):
        return None
    try:
        return await get_hub().get_channel(canonical_code(path[1]))
    except Exception:
        logger.warning("channel_not_opened", exc_info=True)
        return None


def _host(scope: Scope, headers: dict[bytes, bytes]) -> bytes:
    """Return the request's host. As in Django, it is the server's address if the client names no host."""
    if b"host" in headers:
        return headers[b"host"]
    server = scope.get("server") or ("", 0)
    return str(server[0]).encode()


async def _stream(channel: Channel, scope: Scope, receive: Any, send: Any) -> None:
    assert channel.frames
    public = channel.frames.results_visible == Visibility.ALWAYS
    sharing = (b"access-control-allow-origin", b"*") if public else (b"vary", b"Cookie")
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, sharing]})
    # No empty line follows, so this field becomes part of the first event. Some clients expect an event in
    # every block.
    retry = b"retry: %d\n" % random.randint(*RETRY_MILLISECONDS)
    await send({"type": "http.response.body", "body": retry, "more_body": True})

    subscriber = Subscriber(channel, _access_cookies(scope))
    if await hand_over(subscriber, scope):
        return

    async def send_event(message: Message) -> None:
        await send({"type": "http.response.body", "body": message.event, "more_body": True})

    connection = ASGIConnection(subscriber, send_event)
    channel.subscribe(subscriber, connection)
    await connection.run(_wait_for_disconnect(receive, subscriber), max_seconds=MAX_STREAM_SECONDS)
    await send({"type": "http.response.body", "body": b""})


def _access_cookies(scope: Scope) -> bytes:
    """Return the cookies that identify the viewer. Return none if another site's page makes the request."""
    headers = scope["headers"]
    host = _host(scope, dict(headers)).decode("latin-1")
    if not origin_allowed(origin_of(headers), host, secure=is_secure(scope)):
        return b""
    return b"; ".join(value for name, value in headers if name == b"cookie")


async def _wait_for_disconnect(receive: Any, subscriber: Subscriber) -> None:
    await get_hub().check_access(subscriber)
    while (await receive())["type"] != "http.disconnect":
        pass


def accepts_events(accept: bytes) -> bool:
    """Return whether an Accept header allows text/event-stream."""
    kinds = {part.partition(b";")[0].strip().lower() for part in accept.split(b",")}
    return not accept or bool(kinds & {b"text/event-stream", b"text/*", b"*/*"})
