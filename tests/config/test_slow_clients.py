"""Clients that hold a connection by asking slowly are hung up on, and nobody else is."""

import asyncio
from typing import Any

import pytest

from config import slow_clients
from config.uvicorn_bounds import BoundedHttp, BoundedWebSocket
from tests.realtime.serving import Handing, serving

pytestmark = pytest.mark.asyncio

HEAD = b"POST / HTTP/1.1\r\nhost: testserver\r\ncontent-length: 1000\r\n"


HANDSHAKE = (
    b"GET /ws/ HTTP/1.1\r\nhost: testserver\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BOUNDED = {"http": BoundedHttp, "ws": BoundedWebSocket}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST_BYTE", 0.5), ("HEAD", 0.5), ("BODY_PAUSE", 0.5), ("BODY", 1.5)):
        monkeypatch.setattr(slow_clients, f"{name}_SECONDS", seconds)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    answer = str(size).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def told(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that comes until the server hangs up, while the pieces go out so far apart."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say() -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)

    saying = asyncio.ensure_future(say())
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        saying.cancel()
        writer.close()


async def test_one_that_says_nothing_is_let_go() -> None:
    async with serving(echo) as (_, port):
        assert await told(port) == b""


async def test_headers_by_the_drop_have_an_end() -> None:
    drops = [b"GET / HTTP/1.1\r\n", *(b"x-drop-%d: 1\r\n" % n for n in range(1000))]
    async with serving(echo) as (_, port):
        assert (await told(port, *drops, pause=0.05)).startswith(b"HTTP/1.1 408 ")


async def test_headers_without_end_have_one() -> None:
    many = b"".join(b"x-%d: %b\r\n" % (n, b"y" * 500) for n in range(50))
    async with serving(echo) as (_, port):
        assert (await told(port, HEAD, *[many] * 100, pause=0.001)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_that_stops_is_not_waited_for() -> None:
    async with serving(echo) as (_, port):
        assert (await told(port, HEAD + b"\r\nbegun")).startswith(b"HTTP/1.1 408 ")


async def test_a_body_by_the_drop_has_an_end() -> None:
    async with serving(echo) as (_, port):
        answer = await told(port, HEAD + b"\r\n", *[b"x"] * 999, pause=0.1)
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([], b""),
        ([b"\r\n"], b""),
        ([HEAD], b"HTTP/1.1 408 "),
        ([HEAD + b"\r\nbegun"], b"HTTP/1.1 408 "),
        ([HEAD + b"x: " + b"y" * slow_clients.HEAD_BYTES], b"HTTP/1.1 431 "),
        ([HANDSHAKE + b"content-length: 10\r\n\r\n"], b"HTTP/1.1 408 "),
        ([HANDSHAKE + b"transfer-encoding: chunked\r\n\r\n"], b"HTTP/1.1 408 "),
    ],
)
@pytest.mark.parametrize("protocols", [{}, BOUNDED], ids=["known uvicorn", "unknown uvicorn"])
async def test_it_is_the_same_without_the_fast_path(
    protocols: Any, pieces: list[bytes], answer: bytes
) -> None:
    async with serving(echo, **protocols) as (_, port):
        assert (await told(port, *pieces)).startswith(answer)


async def test_who_takes_a_moment_is_answered() -> None:
    async with serving(echo) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # the same connection again, after longer than any of the pauses
            for piece in (HEAD[:20], HEAD[20:], b"\r\n" + b"x" * 500, b"x" * 500):
                writer.write(piece)
                await asyncio.sleep(0.1)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(4) == b"1000"
            await asyncio.sleep(1.0)
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"accept: text/event-stream\r\n",
    ],
)
async def test_viewers_who_only_listen_stay(lines: bytes) -> None:
    handing = Handing()
    async with serving(handing) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream/ HTTP/1.1\r\nhost: testserver\r\n" + lines + b"\r\n")
        recorder = await handing.recorder()
        await asyncio.sleep(2.0)  # longer than all that was patient above
        assert "gone" not in recorder.told
        assert not reader.at_eof()
        writer.close()
