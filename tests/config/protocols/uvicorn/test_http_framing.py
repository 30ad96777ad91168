"""How many requests reach the application, with and without the fast path."""

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest

from config.protocols import limits
from tests.realtime.uvicorn_server import Handing, serving
from tests.servers import PATIENCE

pytestmark = pytest.mark.asyncio

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "150"))
INNER = b"POST /inner HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\ninner"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


class Recorder:
    """An application that records the requests and echoes their bodies."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.headers: list[Any] = []
        self.ready = asyncio.Event()
        self.ready.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers.append(scope["headers"])
        if scope["type"] == "websocket":
            self.seen.append(("WEBSOCKET", scope["path"], b""))
            await receive()
            await send({"type": "websocket.close"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        last = scope["path"] == "/last"
        if not last:
            self.seen.append((scope["method"], scope["path"], body))
        await self.ready.wait()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 205 if last else 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def converse(port: int, pieces: Sequence[bytes]) -> bytes:
    """Send the pieces so that the server reads them separately, then a last request. Return its output."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    output = b""
    try:
        for piece in [*pieces, LAST]:
            writer.write(piece)
            await writer.drain()
            for _ in range(5):
                await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            while data := await reader.read(65536):
                output += data
    except ConnectionError:
        pass  # the server has disconnected first
    finally:
        writer.close()
    return output


def post(lines: bytes, body: bytes, path: bytes = b"/outer", method: bytes = b"POST") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"%b %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n%b" % (method, path, length, lines, body)


def chunked(lines: bytes, body: bytes, trailer: bytes = b"") -> bytes:
    head = b"POST /outer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n" % lines
    return head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailer)


@pytest.mark.parametrize("lines", [H2C, WEBSOCKET, WEBSOCKET + b"Upgrade: h2c\r\n"])
@pytest.mark.parametrize("encode", [post, chunked])
@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_body_after_an_upgrade_header_is_a_body(lines: bytes, encode: Any, pieces: int) -> None:
    app, body = Recorder(), b"\r\n" * 3000 + INNER
    whole = encode(lines, body) + INNER
    size = -(-len(whole) // pieces)
    async with serving(app) as (_, port):
        output = await converse(port, [whole[i : i + size] for i in range(0, len(whole), size)])
    assert app.seen == [("POST", "/outer", body), ("POST", "/inner", b"inner")]
    assert output.count(b"HTTP/1.1 200 OK") == 2


async def test_upgrade_header_on_the_last_request_of_a_connection() -> None:
    app = Recorder()
    async with serving(app) as (_, port):
        for whole in (
            post(b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n", INNER),
            post(H2C, INNER).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        ):
            app.seen.clear()
            await converse(port, [whole + INNER])
            assert app.seen == [("POST", "/outer", INNER)]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT"])
async def test_handshake_with_a_body_is_a_plain_request(method: bytes) -> None:
    app = Recorder()
    async with serving(app) as (_, port):
        await converse(port, [post(WEBSOCKET, b"body", b"/ws/", method)])
    assert app.seen == [(method.decode(), "/ws/", b"body")]


async def test_active_request_is_told_of_the_disconnect() -> None:
    """More requests are pipelined behind the active one. uvicorn by itself would inform only the last one."""
    heard: list[str] = []
    began, over = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        began.set()
        heard.append((await receive())["type"])
        over.set()

    async with serving(app) as (_, port):
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", b"") * 3)
        async with asyncio.timeout(PATIENCE):
            await began.wait()
            writer.transport.abort()
            await over.wait()
    assert heard == ["http.disconnect"]


async def test_handshake_behind_an_unanswered_request_is_a_plain_request() -> None:
    """Otherwise the response to the first request would be written between WebSocket frames."""
    app = Recorder()
    app.ready.clear()
    async with serving(app) as (_, port):
        asking = asyncio.ensure_future(
            converse(port, [post(b"", b"1") + b"GET /ws/ HTTP/1.1\r\nHost: x\r\n" + WEBSOCKET + b"\r\n"])
        )
        async with asyncio.timeout(PATIENCE):
            while not app.seen:
                await asyncio.sleep(0.005)
        app.ready.set()
        output = await asking
    assert app.seen == [("POST", "/outer", b"1"), ("GET", "/ws/", b"")]
    assert output.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
        post(b"Transfer-Encoding: chunked\r\n", INNER),
        post(H2C + b"Transfer-Encoding: chunked\r\n", INNER),
        post(b"Content-Length: 3\r\n", INNER),
        b"POST /outer HTTP/1.1\r\nHost: x\r\nX: y\r\n Content-Length: 3\r\n\r\n" + INNER,
        b"POST /outer HTTP/1.1\nHost: x\nContent-Length: 3\n\n" + INNER,
        b"POST /outer HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\n" + INNER,
        b"POST /outer HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000) + INNER,
    ],
    ids=["connect", "both", "both, upgrade", "two", "folded", "bare LF", "space", "long"],
)
async def test_ambiguous_framing_is_refused_once(request_: bytes) -> None:
    app = Recorder()
    async with serving(app) as (_, port):
        output = await converse(port, [request_ + INNER])
    assert app.seen == []
    assert output.count(b"HTTP/1.1 ") == output.count(b"HTTP/1.1 400 ") == 1


async def test_malformed_handshake_is_answered_at_once() -> None:
    async with serving(Recorder()) as (server, port):
        for odd in (b"Content-Length: 0\r\n", b"Sec-WebSocket-Key: x\r\n", b"Sec-WebSocket-Version: 8\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ws/ HTTP/1.1\r\nHost: x\r\n" + odd + WEBSOCKET + b"\r\n")
            async with asyncio.timeout(PATIENCE):
                assert (await reader.read()).startswith(b"HTTP/1.1 4")
            writer.close()
        async with asyncio.timeout(PATIENCE):
            while server.server_state.connections:
                await asyncio.sleep(0.005)


async def test_frames_sent_with_the_handshake_are_received() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ws/ HTTP/1.1\r\nHost: x\r\n" + WEBSOCKET + b"\r\n\x81\x82\0\0\0\0hi")
        recorder = await app.recorder()
        async with asyncio.timeout(PATIENCE):
            while not recorder.texts:
                await asyncio.sleep(0.005)
        assert recorder.texts == ["hi"]
        writer.close()


async def test_trailers_do_not_become_headers() -> None:
    app = Recorder()
    async with serving(app) as (_, port):
        await converse(port, [chunked(b"", b"body", b"X-Forwarded-For: 203.0.113.9\r\n")])
    assert app.seen == [("POST", "/outer", b"body")]
    assert b"x-forwarded-for" not in dict(app.headers[0])


async def test_empty_lines_extend_no_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_BYTE_SECONDS", 0.3)
    async with serving(Recorder(), timeout_keep_alive=1) as (_, port):
        for first in (b"\r\n", post(b"", b"") + b"\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            async with asyncio.timeout(PATIENCE):
                await reader.read()  # until the server disconnects
            writer.close()


async def test_event_stream_with_an_unfinished_request_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(limits, "BODY_PAUSE_SECONDS", 0.3)
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
        assert (await app.recorder()).connection is None
        async with asyncio.timeout(PATIENCE):
            await reader.read()
        writer.close()


def made_up(luck: random.Random) -> tuple[list[bytes], int]:
    """Return pieces of requests whose bodies contain whole requests, and the number of real requests."""
    requests, count = b"", luck.randint(1, 4)
    for number in range(count):
        body = b"\r\n" * luck.choice([0, 1, 4000]) + INNER * luck.randint(1, 3)
        lines = luck.choice([b"", H2C, WEBSOCKET, b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n"])
        if number == count - 1:
            lines = luck.choice([lines, b"Connection: upgrade, close\r\nUpgrade: h2c\r\n"])
        lines += luck.choice([b"", b"Connection: keep-alive\r\n", b"X-Forwarded-For: 203.0.113.9\r\n"])
        path = luck.choice([b"/outer", b"/ws/", b"http://x/outer", b"/stream/"])
        if luck.random() < 0.3:
            requests += chunked(lines, body)
        else:
            requests += post(lines, body, path, luck.choice([b"POST", b"GET", b"PUT"]))
        requests += luck.choice([b"", b"\r\n"]) if number < count - 1 else b""
    cuts = sorted(luck.sample(range(1, len(requests)), luck.randint(0, 3)))
    return [requests[i:j] for i, j in zip([0, *cuts], [*cuts, len(requests)], strict=True)], count


async def test_no_body_becomes_a_request() -> None:
    app = Recorder()
    async with serving(app) as (_, port):
        for seed in range(EXAMPLES):
            pieces, count = made_up(random.Random(seed))
            app.seen.clear()
            await converse(port, pieces)
            assert len(app.seen) == count, (seed, pieces)
            assert not [request for request in app.seen if request[1] == "/inner"], (seed, pieces)
