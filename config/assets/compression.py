"""Compression of public responses: pages and tallies that are the same for everybody.

deploy/nginx.conf compresses the same responses. No other responses are compressed. The reason is the BREACH
attack: if a page contains a secret and text that an attacker chose, its compressed length reveals the secret.
Public responses contain no secrets. Static files are compressed once, by collectstatic.
"""

import gzip
import re
from functools import lru_cache
from typing import Any

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

MIN_BYTES = 500  # compressing a smaller body isn't worth the extra headers
#: The maximum number of bodies in the cache of compressed bodies, and the maximum size of one. With this
#: cache, a page is compressed once for the whole audience.
CACHE_ENTRIES, CACHE_MAX_BYTES = 32, 200_000
CONTENT_TYPES = (b"text/html", b"application/json")
_ACCEPTS_GZIP = re.compile(rb"(?:^|[\s,])gzip\s*(?:$|,|;\s*q\s*=\s*(?!0(?:\.0*)?\s*(?:,|$)))", re.IGNORECASE)


class Compression:
    """ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        takes = any(n == b"accept-encoding" and _ACCEPTS_GZIP.search(v) for n, v in scope["headers"])
        start: dict[str, Any] | None = None

        async def send_compressed(message: dict[str, Any]) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and is_public(message["headers"]):
                message = {**message, "headers": with_vary(message["headers"])}
                if takes and message["status"] == 200 and scope["method"] == "GET":
                    start = message  # the start is held back until the body is known
                    return
            elif start is not None:
                held, start = start, None
                if len(body := message.get("body", b"")) >= MIN_BYTES and not message.get("more_body"):
                    body = gzipped(body)
                    held = {**held, "headers": with_gzip_headers(held["headers"], len(body))}
                    message = {**message, "body": body}
                await send(held)
            await send(message)

        await self.app(scope, receive, send_compressed)


def is_public(headers: Headers) -> bool:
    """Whether these are the headers of a public page or JSON document that isn't compressed yet."""
    found = {name.lower(): value for name, value in headers}
    kind = found.get(b"content-type", CONTENT_TYPES[0]).partition(b";")[0]  # a 304 has no content type
    public = b"public" in re.split(rb"\s*,\s*", found.get(b"cache-control", b""))
    return public and kind in CONTENT_TYPES and b"content-encoding" not in found


def with_vary(headers: Headers) -> Headers:
    """Return the headers with Vary: Accept-Encoding and a weak ETag, since compression changes the bytes."""
    headers = [(name, _weak(value) if name.lower() == b"etag" else value) for name, value in headers]
    vary = next((value for name, value in headers if name.lower() == b"vary"), b"")
    if b"accept-encoding" in vary.lower():
        return headers
    others = [header for header in headers if header[0].lower() != b"vary"]
    return [*others, (b"vary", b"%b, Accept-Encoding" % vary if vary else b"Accept-Encoding")]


def _weak(etag: bytes) -> bytes:
    return etag if etag.startswith(b"W/") else b"W/" + etag


def with_gzip_headers(headers: Headers, length: int) -> Headers:
    others = [header for header in headers if header[0].lower() != b"content-length"]
    return [*others, (b"content-length", b"%d" % length), (b"content-encoding", b"gzip")]


def gzipped(body: bytes) -> bytes:
    return _cached_gzip(body) if len(body) <= CACHE_MAX_BYTES else _gzip(body)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


_cached_gzip = lru_cache(CACHE_ENTRIES)(_gzip)
