"""The page cache sends what Django would say at that moment, and only what is for everybody."""

import asyncio
import gzip
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client

from config.assets import page_cache
from config.assets.compression import Compression
from config.assets.page_cache import PageCache
from config.operations.request_id import RequestId
from config.security.body_limit import BodyLimit
from config.serving.django_handler import OneHopHandler
from polls import drafts, lifecycle
from polls.http.raw_get_lane import RawGetLane
from polls.models import Poll, Visibility
from tests.polls.api_client import make_poll
from tests.polls.differential import Headers, Received, Sent, ask, ask_raw, in_bytes
from tests.polls.poll_states import STATES, count, make_poll_in
from tests.polls.public_pages import POLL_PAGES
from tests.realtime.asgi_client import http_scope

HOST = (b"host", b"vote.example")
PLAIN: Headers = [HOST, (b"accept-encoding", b"gzip, deflate, br")]


@pytest.fixture(autouse=True)
def _pages_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine doesn't turn a hit into a miss."""
    monkeypatch.setattr(page_cache, "MAX_AGE_SECONDS", 3600.0)


class Pages:
    """The application with and without the cache, and the raw lane over it."""

    def __init__(self) -> None:
        self.rendered: list[str] = []
        django = Compression(OneHopHandler())
        self.without = RequestId(BodyLimit(django, django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE))
        self.cache = PageCache(self._noted)
        self.raw = RawGetLane([self.cache])
        self.runner = asyncio.Runner()

    async def _noted(self, scope: Any, receive: Any, send: Any) -> None:
        self.rendered.append(scope["path"])
        await self.without(scope, receive, send)

    def compare(self, path: str, headers: Headers = PLAIN, **sent: Any) -> Received:
        """Check that a miss, a hit and the raw lane answer as Django does; return its answer."""
        return self.runner.run(self._compare(Sent(path, headers, **{"method": "GET"} | sent)))

    async def _compare(self, sent: Sent) -> Received:
        wanted = await ask(self.without, sent)
        for _ in range(2):
            found = await ask(self.cache, sent)
            assert found.comparable() == wanted.comparable()
            assert len(found.header(b"x-request-id")) == 1
        if sent.scheme == "http" and not any(value != value.strip(b" \t") for _, value in sent.headers):
            raw = await ask_raw(self.raw, in_bytes(sent))
            assert raw is None or raw.comparable() == wanted.comparable()
        return wanted


@pytest.fixture
def pages(settings: Any) -> Iterator[Pages]:
    settings.ALLOWED_HOSTS = ["vote.example", ".halls.example"]
    pages = Pages()
    yield pages
    pages.runner.close()


# --- what Django says ---

ODD: list[Headers] = [
    [],
    [HOST],
    [HOST, HOST],
    [HOST, (b"host", b"evil.example")],
    [(b"host", b"evil.example")],
    [(b"host", b"north.halls.example:8443")],
    [(b"host", b"VOTE.example")],
    [HOST, (b"accept-encoding", b"gzip;q=0")],
    [HOST, (b"accept-encoding", b"identity"), (b"accept-encoding", b"gzip")],
    [HOST, (b"accept-encoding", b"br")],
    [HOST, (b"accept", b"application/json")],
    [HOST, (b"accept-language", b"de-DE,de;q=0.9")],
    [HOST, (b"accept-language", b"de"), (b"accept-language", b"en")],
    [HOST, (b"cookie", b"django_language=de")],
    [HOST, (b"cookie", b"sessionid=abcdefgh; csrftoken=x; messages=x; voter=x")],
    [HOST, (b"cookie", b"a=1"), (b"cookie", b"django_language=de")],
    [HOST, (b"authorization", b"Api-Key x")],
    [HOST, (b"if-none-match", b"*")],
    [HOST, (b"if-none-match", b'"1", W/"2"')],
    [HOST, (b"if-match", b'"1"')],
    [HOST, (b"if-modified-since", b"Thu, 01 Jan 1970 00:00:00 GMT")],
    [HOST, (b"if-unmodified-since", b"Thu, 01 Jan 1970 00:00:00 GMT")],
    [HOST, (b"range", b"bytes=0-9")],
    [HOST, (b"content-length", b"0")],
    [HOST, (b"x-forwarded-proto", b"https")],
    [HOST, (b"x-forwarded-host", b"evil.example")],
    [HOST, (b"x-forwarded-for", b"198.51.100.1")],
    [HOST, (b"x-request-id", b"proxy-1.2:3")],
    [HOST, (b"x-request-id", b"short")],
    [HOST, (b"origin", b"https://evil.example")],
    [HOST, (b"sec-fetch-site", b"cross-site")],
    [HOST, (b"x-http-method-override", b"POST")],
    [HOST, (b"connection", b"close")],
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_polls_in_every_state_and_visibility(pages: Pages) -> None:
    codes = {
        (state, visible): make_poll_in(state, results_visible=visible).code
        for state, visible in product(STATES, Visibility.values)
    }
    for (state, _), code in codes.items():
        for page in POLL_PAGES:
            answer = pages.compare(f"/p/{code}/{page}")
            assert answer.status == 200
            etag = answer.header(b"etag")[0]
            assert pages.compare(f"/p/{code}/{page}", [*PLAIN, (b"if-none-match", etag)]).status == 304, state
    # A miss and a hit of each: rendered once with an ETag and once without.
    assert len(pages.rendered) == 2 * 3 * len(codes)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"SECURE_HSTS_SECONDS": 600, "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
        {"PUBLIC_URL": "https://vote.example"},
        {"LANGUAGES": [("en", "English"), ("de", "Deutsch")]},
        {"TRUSTED_PROXIES": ["*"]},
    ],
    ids=str,
)
def test_odd_requests_and_settings(changed: dict[str, Any], settings: Any, request: Any) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    pages: Pages = request.getfixturevalue("pages")
    code = make_poll(open=True).code
    staff = Client()
    staff.force_login(get_user_model().objects.create_superuser("boss"))
    session = f"sessionid={staff.cookies['sessionid'].value}".encode()
    for headers in [*ODD, [HOST, (b"cookie", session)]]:
        for page in POLL_PAGES:
            pages.compare(f"/p/{code}/{page}", headers)
    for scheme, page in product(("http", "https"), POLL_PAGES):
        pages.compare(f"/p/{code}/{page}", scheme=scheme)


@pytest.mark.django_db(transaction=True)
def test_other_addresses_and_methods(pages: Pages) -> None:
    code = make_poll(open=True).code
    paths = [
        f"/p/{code.lower()}/",
        f"/p/{code}",
        f"/p/{code}/receipt/",
        f"/p/{code}/nowhere/",
        f"/p/{code}//",
    ]
    for path in [*paths, "/p/NOPE42/", "/", f"/p/{'A' * 40}/", f"/p/{code}\x00/"]:
        pages.compare(path)
    for method in ("HEAD", "POST", "OPTIONS", "get"):
        pages.compare(f"/p/{code}/", method=method)
    pages.compare(f"/p/{code}/", query=b"code=1")
    assert pages.rendered.count("/p/NOPE42/") == 2  # not kept


@pytest.mark.django_db(transaction=True)
def test_every_change_of_a_poll_shows_at_once(pages: Pages) -> None:
    poll = make_poll(*"ABC", question="First?")
    path, seen = f"/p/{poll.code}/", set()

    def look() -> None:
        for page in POLL_PAGES:
            pages.compare(path + page)
        seen.add(pages.compare(path).body)

    look()
    for change in (
        lambda: drafts.change_poll(poll.pk, opens_at=None, question="Second?", choices=["D", "E"]),
        lambda: lifecycle.open_poll(poll.pk),
        lambda: drafts.change_poll(poll.pk, results_visible="staff"),
        lambda: lifecycle.close_poll(poll.pk),
        count,
        lambda: lifecycle.publish_poll(poll.pk),
        lambda: lifecycle.reset_poll(poll.pk),
    ):
        change()
        look()
    assert len(seen) == 8
    other = make_poll()
    assert pages.compare(f"/p/{other.code}/").status == 200
    drafts.delete_poll(other.pk)
    assert pages.compare(f"/p/{other.code}/").status == 404


CONDITIONS = {b"if-none-match": b"etag", b"if-modified-since": b"last-modified"}
FILES = ("css/vote.css", "js/vote/vote.js", "img/mark.svg")
ENCODINGS = (b"", b"gzip", b"br", b"gzip, deflate, br, zstd", b"gzip;q=0, br;q=0.1", b"identity")


@pytest.fixture
def collected(settings: Any, tmp_path: Path) -> None:
    """Files as collectstatic leaves them, in three encodings."""
    settings.STATIC_ROOT = tmp_path
    for name in (*FILES, "vendor/font.woff2"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.with_name(f"{path.name}.br").write_bytes(brotli.compress(path.read_bytes()))


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_files(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.WHITENOISE_IMMUTABLE_FILE_TEST = "."  # as if their names had a hash
    pages: Pages = request.getfixturevalue("pages")
    for name, encoding in product(FILES, ENCODINGS):
        headers = [HOST, (b"accept-encoding", encoding)]
        answer = pages.compare(f"/static/{name}", headers)
        assert b"immutable" in answer.header(b"cache-control")[0]
        for condition, header in CONDITIONS.items():
            pages.compare(f"/static/{name}", [*headers, (condition, answer.header(header)[0])])
        pages.compare(f"/static/{name}", [*headers, (b"range", b"bytes=2-9")])
    for headers in ODD:
        pages.compare("/static/css/vote.css", headers)
    for path in (
        "css/nowhere.css",
        "css/../css/vote.css",
        "css//vote.css",
        "vendor/inter/LICENSE.txt",
        "css/",
    ):
        pages.compare(f"/static/{path}")
    # A miss and a hit of each, without and with each condition; ranges aren't kept.
    wanted = len(ENCODINGS) * (1 + len(CONDITIONS) + 2)
    assert pages.rendered.count(f"/static/{FILES[-1]}") == wanted


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_files_without_a_hash_are_not_kept(pages: Pages) -> None:
    assert pages.compare("/static/css/vote.css").status == 200
    assert pages.rendered == ["/static/css/vote.css"] * 2


# --- the cache itself ---

PUBLIC = [(b"Cache-Control", b"max-age=5, public"), (b"x-request-id", b"0123456789abcdef")]


class App:
    """Answers with a number that grows, after `go` is set."""

    def __init__(self, headers: Headers = PUBLIC, status: int = 200) -> None:
        self.headers, self.status, self.calls = headers, status, 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        body = b"%d" % self.calls
        assert (await receive())["type"] == "http.request"
        await self.go.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": body[:1], "more_body": True})
        await send({"type": "http.response.body", "body": body[1:]})


async def get(cache: PageCache, path: str = "/p/DEMO/") -> bytes:
    return (await ask(cache, Sent(path, [HOST], method="GET"))).body


async def test_requests_that_arrive_together_share_a_page() -> None:
    app = App()
    cache = PageCache(app)
    app.go.clear()
    asked = [asyncio.ensure_future(get(cache)) for _ in range(5)]
    await asyncio.sleep(0)
    app.go.set()
    assert await asyncio.gather(*asked) == [b"1"] * 5
    assert await get(cache) == b"1"


async def test_a_page_is_kept_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, now = PageCache(App()), 100.0
    monkeypatch.setattr(page_cache, "time", SimpleNamespace(monotonic=lambda: now))
    assert await get(cache) == b"1"
    now += page_cache.MAX_AGE_SECONDS - 0.01
    assert await get(cache) == b"1"
    now += 0.01
    assert await get(cache) == b"2"


async def test_a_page_that_was_begun_before_a_change_is_not_kept() -> None:
    app = App()
    cache = PageCache(app)
    app.go.clear()
    early = asyncio.ensure_future(get(cache))
    await asyncio.sleep(0)
    lifecycle.poll_changed.send(sender=Poll, poll_id=1)
    late = asyncio.ensure_future(get(cache))  # doesn't wait for the early one
    await asyncio.sleep(0)
    app.go.set()
    assert await early == b"1"
    assert await late == await get(cache) == b"2"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"cache-control", b"private, no-store")], 200),
        ([(b"cache-control", b"public"), (b"Set-Cookie", b"a=1")], 200),
        ([], 200),
        ([(b"cache-control", b"public")], 404),
        ([(b"cache-control", b"public")], 500),
    ],
)
async def test_other_answers_are_neither_kept_nor_shared(headers: Headers, status: int) -> None:
    app = App([*headers, PUBLIC[-1]], status)
    cache = PageCache(app)
    app.go.clear()
    asked = [asyncio.ensure_future(get(cache)) for _ in range(3)]
    await asyncio.sleep(0)
    app.go.set()
    assert len(set(await asyncio.gather(*asked))) == 3
    assert await get(cache) == b"4"


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "MAX_PAGES", 3)
    cache = PageCache(App())
    for number in range(9):
        await get(cache, f"/p/DEMO{number}/")
    assert len(cache._pages) == 3
    assert await get(cache, "/p/DEMO8/") == b"9"
    monkeypatch.setattr(page_cache, "MAX_BODY_BYTES", 1)
    assert (await get(cache, "/p/LONG/"), await get(cache, "/p/LONG/")) == (b"10", b"11")


async def test_a_page_is_finished_when_its_first_client_has_left() -> None:
    app = App()
    cache = PageCache(app)
    app.go.clear()
    first = asyncio.ensure_future(cache(http_scope("GET", "/p/DEMO/", [HOST]), None, None))
    second = asyncio.ensure_future(get(cache))
    await asyncio.sleep(0)
    first.cancel()
    app.go.set()
    assert await second == b"1"
