"""Only public responses are compressed. Responses that may contain a secret never are."""

import gzip
from typing import Any

import pytest

from config.asgi import http
from config.assets.compression import CACHE_MAX_BYTES, MIN_BYTES, Compression
from realtime import hub as hub_module
from tests.realtime.asgi_client import Answer, ask, http_scope
from tests.realtime.viewers import db, make_poll

PAGE = b"<p>x</p>" * 200
PUBLIC = {"content-type": "text/html; charset=utf-8", "cache-control": "public, max-age=5", "etag": '"1"'}


async def answer(
    body: bytes = PAGE, accepts: str = "gzip", method: str = "GET", status: int = 200, **changes: str
) -> tuple[Answer, dict[bytes, bytes]]:
    """Return a response with these headers after it has passed through Compression."""
    headers = PUBLIC | {"content-length": str(len(body))} | changes
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items() if value]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    told = await ask(Compression(app), http_scope(method, "/", [(b"accept-encoding", accepts.encode())]))
    return told, dict(told.headers)


async def test_public_page_is_compressed() -> None:
    told, headers = await answer()
    assert gzip.decompress(told.body) == PAGE
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"content-length"] == b"%d" % len(told.body)
    assert headers[b"etag"] == b'W/"1"'  # weak, because the bytes differ by encoding
    assert headers[b"vary"] == b"Accept-Encoding"


@pytest.mark.parametrize("size", [MIN_BYTES, CACHE_MAX_BYTES, CACHE_MAX_BYTES + 1])
async def test_body_of_any_size_is_compressed_correctly(size: int) -> None:
    told, _ = await answer(b"x" * size)
    assert gzip.decompress(told.body) == b"x" * size


@pytest.mark.parametrize("accepts", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.5", "deflate,gzip;q=1"])
async def test_accept_encoding_is_respected(accepts: str) -> None:
    assert b"content-encoding" in (await answer(accepts=accepts))[1]


@pytest.mark.parametrize(
    "case",
    [
        {"accepts": ""},
        {"accepts": "identity"},
        {"accepts": "br"},
        {"accepts": "gzip;q=0"},
        {"accepts": "gzip; q=0.0, br"},
        {"accepts": "xgzip"},
        {"body": b"x" * (MIN_BYTES - 1)},
        {"method": "HEAD"},
        {"status": 404},
        {"status": 304, "body": b"", "content-type": ""},
    ],
)
async def test_public_responses_have_weak_etag_and_vary_in_each_encoding(case: dict[str, Any]) -> None:
    told, headers = await answer(**case)
    assert told.body == case.get("body", PAGE)
    assert headers[b"etag"] == b'W/"1"'
    assert headers[b"vary"] == b"Accept-Encoding"
    assert b"content-encoding" not in headers


@pytest.mark.parametrize(
    "case",
    [
        {"cache-control": "private, no-store"},
        {"cache-control": "no-store"},
        {"cache-control": ""},
        {"cache-control": "x-public"},
        {"content-type": "text/event-stream"},
        {"content-type": "application/zip"},
        {"content-encoding": "br"},
    ],
)
async def test_other_responses_are_unchanged(case: dict[str, Any]) -> None:
    told, headers = await answer(**case)
    assert told.body == PAGE
    assert headers[b"etag"] == b'"1"'
    assert headers.get(b"content-encoding", b"").decode() == case.get("content-encoding", "")


async def test_vary_keeps_other_headers() -> None:
    assert (await answer(vary="Accept-Language"))[1][b"vary"] == b"Accept-Language, Accept-Encoding"
    assert (await answer(vary="Accept-Encoding"))[1][b"vary"] == b"Accept-Encoding"


@pytest.mark.django_db(transaction=True)
async def test_only_public_tallies_and_pages_are_compressed() -> None:
    labels = tuple(f"Choice {number} with a label of some length" for number in range(20))
    poll = await db(make_poll)(choices=labels)
    at = f"/api/v1/polls/{poll.code}"
    wanted = {f"{at}/tally/": True, f"/p/{poll.code}/": True, f"{at}/voter/": False, "/admin/login/": False}
    for path, gzipped in wanted.items():
        headers = [(b"host", b"testserver"), (b"accept-encoding", b"gzip")]
        for _ in range(3):  # the later tallies come from the fast lane
            told = await ask(http, http_scope("GET", path, headers))
            found = {name.lower(): value for name, value in told.headers}
            assert (found.get(b"content-encoding") == b"gzip") is gzipped, path
            if gzipped:
                assert len(gzip.decompress(told.body)) > len(told.body)
        if gzipped:
            same = await ask(http, http_scope("GET", path, [*headers, (b"if-none-match", found[b"etag"])]))
            assert (same.status, same.body) == (304, b"")
    await hub_module.get_hub().stop()
