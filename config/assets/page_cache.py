"""An in-process cache of the poll pages and their static files, ahead of Django.

Rendering a page costs as much as sixty ballots, and each of its files costs as much as ten. Everybody who
votes loads the page and its files first. Pages and files are public and the same for everybody
(polls/pages/views.py). The cache keeps Django's response, compressed and with its headers. A later request
gets the kept response if everything in it that Django looks at is the same. A response is kept for
MAX_AGE_SECONDS at most. A file is kept only if its name has a hash of its content (`immutable`). When this
process changes a poll, the cache is emptied at once (signal `poll_changed`).
"""

import asyncio
import re
import time
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import translation

from polls.http.lanes import (
    Headers,
    Response,
    Scope,
    django_request,
    is_secure,
    request_id_in,
    send_response,
)
from polls.signals import poll_changed

#: The max-age that the pages allow to every cache (polls/pages/views.py).
MAX_AGE_SECONDS = 5.0
MAX_PAGES, MAX_BODY_BYTES = 256, 100_000
MAX_KEY_BYTES = 8192  # for the headers that the cache looks at
#: The cached paths: a poll's pages, and our own static files. These responses are small; larger ones need the
#: server's flow control.
PATH = re.compile(r"/p/[A-Z0-9]{1,32}/(?:results/|present/)?|/static/(?:css|js|img)/[A-Za-z0-9._/-]{1,100}")
FILES = "/static/"
#: Headers of conditional requests. Django's response is kept for each combination of their values.
CONDITIONS = frozenset((b"if-none-match", b"if-match", b"if-modified-since", b"if-unmodified-since"))
LANGUAGE_COOKIE = settings.LANGUAGE_COOKIE_NAME.encode()
#: Headers of requests that have a body or ask for a part of a file.
UNUSUAL = frozenset((b"content-length", b"transfer-encoding", b"range"))

#: Path, https, language, and the other headers that the response depends on.
Key = tuple[str, bool, str, tuple[tuple[bytes, bytes], ...]]


class Page(NamedTuple):
    response: Response
    request_id: bytes  # the id of the request for which the page was rendered
    rendered_at: float
    public: bool  # whether the page may be sent to other clients


class PageCache:
    """The cache of pages: ASGI middleware, and a lane of RawGetLane."""

    relevant_headers = CONDITIONS | UNUSUAL | {b"host", b"cookie", b"accept-encoding"}

    def __init__(self, app: Any) -> None:
        self.app = app
        if [code for code, _ in settings.LANGUAGES] != [settings.LANGUAGE_CODE]:
            self.relevant_headers |= {b"accept-language"}  # Django chooses the page's language
        self._pages: dict[Key, Page] = {}
        self._rendering: dict[Key, asyncio.Task[Page]] = {}
        poll_changed.connect(self.clear)

    def clear(self, **_: Any) -> None:
        """Drop all pages. Pages that are being rendered aren't kept either. Any thread may call this."""
        self._pages, self._rendering = {}, {}

    def answer(self, path: str, headers: Headers, *, secure: bool) -> Response | None:
        """Return the cached response to a GET, if there is one."""
        key = self._key(path, headers, secure)
        page = self._find(key) if key else None
        return page.response if page else None

    def _find(self, key: Key) -> Page | None:
        page = self._pages.get(key)
        return page if page and time.monotonic() - page.rendered_at < MAX_AGE_SECONDS else None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        key = None
        if scope["method"] == "GET" and not scope["query_string"] and not scope.get("root_path"):
            key = self._key(scope["path"], scope["headers"], is_secure(scope))
        if key is None:
            await self.app(scope, receive, send)
            return
        request_id = request_id_in(scope["headers"])
        page, rendering = self._find(key), self._rendering.get(key)
        if page is None and rendering and rendering.get_loop() is asyncio.get_running_loop():
            page = await asyncio.shield(rendering)
            if not page.public:
                await self.app(scope, receive, send)
                return
        elif page is None:
            page = await self._render(key, scope)
            request_id = page.request_id
        await send_response(page.response, request_id, send)

    def _key(self, path: str, headers: Headers, secure: bool) -> Key | None:
        """Return all that the response to a GET depends on; None for other paths and unusual requests."""
        if PATH.fullmatch(path) is None:
            return None
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in self.relevant_headers:
                if name in found or name in UNUSUAL:
                    return None
                found[name] = value
        if LANGUAGE_COOKIE in found.pop(b"cookie", b"") or sum(map(len, found.values())) > MAX_KEY_BYTES:
            return None
        language = _language(found.pop(b"accept-language", b""))
        return path, secure, language, tuple(sorted(found.items()))

    async def _render(self, key: Key, scope: Scope) -> Page:
        """Let Django render the page, once for all requests that arrive meanwhile."""
        # If a poll changes meanwhile, clear() replaces the two dicts, and this page goes into the old ones.
        pages, all_rendering = self._pages, self._rendering
        rendering = all_rendering[key] = asyncio.ensure_future(_render(self.app, scope))
        rendering.add_done_callback(lambda _: all_rendering.pop(key, None))
        page = await asyncio.shield(rendering)
        if page.public and len(page.response.body) <= MAX_BODY_BYTES:
            while len(pages) >= MAX_PAGES:
                pages.pop(next(iter(pages)), None)
            pages[key] = page
        return page


def _language(accepted: bytes) -> str:
    """Return the language that Django chooses for this Accept-Language; "" if the pages have only one."""
    if not accepted:
        return ""
    request = django_request("")
    request.META["HTTP_ACCEPT_LANGUAGE"] = accepted.decode("latin-1")
    return translation.get_language_from_request(request)


async def _render(app: Any, scope: Scope) -> Page:
    """Call the application as a server would, whether or not the client waits."""
    rendered_at = time.monotonic()
    status, headers, received = 0, Headers(), False
    body: list[bytes] = []

    async def receive() -> dict[str, Any]:
        nonlocal received
        if received:
            await asyncio.Event().wait()
        received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message["headers"])
        else:
            body.append(message.get("body", b""))

    await app(scope, receive, send)
    request_id = next(value for name, value in headers if name.lower() == b"x-request-id")
    headers = [(name.lower(), value) for name, value in headers if name.lower() != b"x-request-id"]
    public = status in (200, 304) and _is_public(dict(headers), is_file=scope["path"].startswith(FILES))
    return Page(Response(status, headers, b"".join(body)), request_id, rendered_at, public)


def _is_public(headers: dict[bytes, bytes], *, is_file: bool) -> bool:
    directives = headers.get(b"cache-control", b"").replace(b" ", b"").split(b",")
    wanted = {b"public", b"immutable"} if is_file else {b"public"}
    return wanted <= set(directives) and b"set-cookie" not in headers
