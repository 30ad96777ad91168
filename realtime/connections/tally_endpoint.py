"""Answers requests for public tallies from the hub's snapshot, without Django.

This module remembers the headers of the view's responses. If a request is like an earlier request in
everything that Django looks at, the response has the same headers, with the hub's ETag and document. The
response is then what the view would send, whatever middleware is added. A request goes to the view if the
view hasn't answered a request like it yet, or if the poll's snapshot may be out of date.
"""

import asyncio
import logging
import re
import time
from typing import Any

from django.conf import settings

from analytics.api.tally import PUBLIC, known
from polls.http.lanes import Headers, Scope
from polls.models import Visibility, canonical_code
from realtime.channels import Channel
from realtime.hub import Hub, current_hub, get_hub
from realtime.protocol import Frames

logger = logging.getLogger(__name__)

PATH = re.compile(r"/api/v1/polls/([A-Za-z0-9]{1,32})/tally/")
SUFFIX = "/tally/"
#: Headers that are not part of a request's key, since no response depends on them.
IGNORED_HEADERS = frozenset(
    b"user-agent referer origin connection cache-control pragma priority dnt upgrade-insecure-requests"
    b" x-forwarded-for x-real-ip via x-request-id traceparent tracestate accept-encoding sec-fetch-site"
    b" sec-fetch-mode sec-fetch-dest sec-fetch-user sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform"
    b" sec-gpc".split()
)
BODY_HEADERS = frozenset((b"content-length", b"transfer-encoding"))
#: The only cookie that a public response may depend on: it sets the language of the headers.
LANGUAGE_COOKIE = settings.LANGUAGE_COOKIE_NAME.encode()
MAX_KNOWN = 512  # responses whose headers are remembered
MAX_KEY_BYTES = 2048  # the largest total size of the headers in a request's key
MAX_CHANNELS = 1000  # requests open a channel only while fewer are open
#: How long a snapshot may be used after it was compared with the database.
TRUSTED_SECONDS = 3.0


class TallyLane:
    """Responds if the hub's snapshot is certainly current, and passes other requests on to the view."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._headers: dict[tuple[Any, ...], Headers] = {}
        self._opening: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        path = PATH.fullmatch(scope["path"]) if scope["path"].endswith(SUFFIX) else None
        key = request_key(scope) if path and scope["method"] == "GET" else None
        if path is None or key is None:
            await self.app(scope, receive, send)
            return
        code = canonical_code(path[1])
        answer = self._answer(code, *key)
        if answer is None:
            await self.app(scope, receive, self._observing(send, code, key[0]))
            return
        for message in answer:
            await send(message)

    def _answer(self, code: str, key: tuple[Any, ...], if_none_match: bytes) -> Headers | Any:
        hub = current_hub()
        if hub is None or hub.loop is not asyncio.get_running_loop():
            return None
        channel = hub.find_channel(code)
        frames = trusted_frames(channel)
        if channel is None or frames is None or frames.document is None:
            return None
        channel.last_used_at = time.monotonic()
        epoch, revision, version = frames.stamp
        etag = f'"{epoch}-{revision}-{version}"'
        unchanged = known(etag, if_none_match.decode("latin-1"))
        status, body = (304, b"") if unchanged else (200, frames.document)
        headers = self._headers.get((status, *key))
        if headers is None:
            return None
        new = {b"etag": etag.encode(), b"content-length": b"%d" % len(body)}
        start = {
            "type": "http.response.start",
            "status": status,
            "headers": [(name, new.get(name.lower(), value)) for name, value in headers],
        }
        return start, {"type": "http.response.body", "body": body}

    def _observing(self, send: Any, code: str, key: tuple[Any, ...]) -> Any:
        """Wrap `send` to remember the headers of the view's response."""

        async def send_seen(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                self._remember(message, code, key)
            await send(message)

        return send_seen

    def _remember(self, message: dict[str, Any], code: str, key: tuple[Any, ...]) -> None:
        headers = list(message["headers"])
        found = {name.lower(): value for name, value in headers}
        if found.get(b"cache-control") != PUBLIC.encode() or b"set-cookie" in found:
            return
        if len(self._headers) >= MAX_KNOWN:
            self._headers.clear()
        self._headers[(message["status"], *key)] = headers
        hub = get_hub()
        if hub.find_channel(code) is None and hub.channel_count < MAX_CHANNELS:
            task = asyncio.ensure_future(_open_channel(hub, code))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)


def request_key(scope: Scope) -> tuple[tuple[Any, ...], bytes] | None:
    """Return everything in a request that Django's response may depend on, and its If-None-Match.

    Return None for a request with a query, a body, a cookie that changes the response, or too many headers.
    """
    if scope["query_string"]:
        return None
    if_none_match, size = b"", 0
    key = [scope["scheme"], scope.get("root_path", "")]
    for header in scope["headers"]:
        name, value = header
        if name == b"if-none-match" and not if_none_match:
            if_none_match = value
        elif name == b"cookie":
            if LANGUAGE_COOKIE in value:
                return None
        elif name in BODY_HEADERS:
            return None
        elif name not in IGNORED_HEADERS:
            key.append(header)
            size += len(name) + len(value)
    return (tuple(key), if_none_match) if size <= MAX_KEY_BYTES else None


def trusted_frames(channel: Channel | None) -> Frames | None:
    """Return a channel's frames if the tally is public and certainly current."""
    if channel is None or channel.frames is None or channel.frames.results_visible != Visibility.ALWAYS:
        return None
    current = channel.subscribed and channel.change is channel.change_seen
    return channel.frames if current and time.monotonic() - channel.confirmed_at < TRUSTED_SECONDS else None


async def _open_channel(hub: Hub, code: str) -> None:
    try:
        await hub.get_channel(code)
    except Exception:
        logger.warning("channel_not_opened", exc_info=True)
