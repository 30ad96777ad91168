"""Slow clients are disconnected, and other clients aren't."""

import asyncio
from typing import Any

import pytest

from config.protocols import limits
from tests.realtime.uvicorn_server import Handing, serving
from tests.servers import PATIENCE

pytestmark = pytest.mark.asyncio

HEAD = b"POST / HTTP/1.1\r\nhost: testserver\r\ncontent-length: 1000\r\n"


HANDSHAKE = (
    b"GET /ws/ HTTP/1.1\r\nhost: testserver\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST_BYTE", 0.5), ("HEAD", 0.5), ("BODY_PAUSE", 0.5), ("BODY", 1.5)):
        monkeypatch.setattr(limits, f"{name}_SECONDS", seconds)


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
    """Send the pieces with pauses, and return all output until the server disconnects."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say() -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)

    saying, heard = asyncio.ensure_future(say()), b""
    try:
        async with asyncio.timeout(PATIENCE):
            while data := await reader.read(65536):
                heard += data
    except ConnectionResetError:
        pass  # the server has disconnected while pieces were being sent
    finally:
        saying.cancel()
        writer.close()
    return heard


class Clock:
    """The event loop's clock, which a test can advance."""

    def __init__(self) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        loop.time = lambda: real() + self.ahead  # type: ignore[method-assign]

    async def forward(self, seconds: float) -> None:
        """Advance the clock after sent data has arrived, and run the timers that are due."""
        for _ in range(20):
            await asyncio.sleep(0)
        self.ahead += seconds
        for _ in range(20):
            await asyncio.sleep(0)


async def test_silent_connection_is_closed() -> None:
    async with serving(echo) as (_, port):
        assert await told(port) == b""


async def test_slow_headers_get_408() -> None:
    drops = [b"GET / HTTP/1.1\r\n", *(b"x-drop-%d: 1\r\n" % n for n in range(1000))]
    async with serving(echo) as (_, port):
        assert (await told(port, *drops, pause=0.05)).startswith(b"HTTP/1.1 408 ")


async def test_endless_headers_get_431(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_BYTE", "HEAD"):  # on a busy machine the timeout could come first
        monkeypatch.setattr(limits, f"{name}_SECONDS", PATIENCE)
    many = b"".join(b"x-%d: %b\r\n" % (n, b"y" * 500) for n in range(50))
    async with serving(echo) as (_, port):
        assert (await told(port, HEAD, *[many] * 100, pause=0.001)).startswith(b"HTTP/1.1 431 ")


async def test_stalled_body_gets_408() -> None:
    async with serving(echo) as (_, port):
        assert (await told(port, HEAD + b"\r\nbegun")).startswith(b"HTTP/1.1 408 ")


async def test_slow_body_gets_408() -> None:
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
        ([HEAD + b"x: " + b"y" * limits.HEAD_BYTES], b"HTTP/1.1 431 "),
        ([HANDSHAKE + b"content-length: 10\r\n\r\n"], b"HTTP/1.1 408 "),
        ([HANDSHAKE + b"transfer-encoding: chunked\r\n\r\n"], b"HTTP/1.1 408 "),
    ],
)
async def test_unfinished_requests_are_refused(pieces: list[bytes], answer: bytes) -> None:
    async with serving(echo) as (_, port):
        assert (await told(port, *pieces)).startswith(answer)


async def test_pauses_below_the_timeouts_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_BYTE", "HEAD", "BODY_PAUSE", "BODY"):  # far longer than a busy machine takes
        monkeypatch.setattr(limits, f"{name}_SECONDS", 10_000)
    async with serving(echo, timeout_keep_alive=100_000) as (_, port):
        clock = Clock()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # reuse the connection after a pause longer than these timeouts
            for piece in (HEAD[:20], HEAD[20:], b"\r\n" + b"x" * 500, b"x" * 500):
                writer.write(piece)
                await clock.forward(2_000)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(4) == b"1000"
            await clock.forward(20_000)
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"accept: text/event-stream\r\n",
    ],
)
async def test_silent_viewers_stay_connected(lines: bytes) -> None:
    handing = Handing()
    async with serving(handing) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream/ HTTP/1.1\r\nhost: testserver\r\n" + lines + b"\r\n")
        recorder = await handing.recorder()
        await Clock().forward(1000)  # longer than all timeouts
        assert "closed" not in recorder.told
        assert not reader.at_eof()
        writer.close()
