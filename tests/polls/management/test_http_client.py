"""The HTTP client of `manage.py crowd`: answers in pieces, connections that end, sockets that only listen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import serve

from polls.management import http_client
from polls.management.http_client import Client
from tests.servers import PATIENCE

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Serve) -> AsyncIterator[Client]:
    """Run a server that answers each connection, and yield a client of it."""
    handlers = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/base", connections=2)
    try:
        yield client
    finally:
        client.close()
        listening.close()
        await asyncio.gather(*handlers)


async def test_requests_and_answers() -> None:
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head.decode())
            body = await reader.readexactly(2) if b"POST" in head else b"{}"
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Acc")
            await writer.drain()
            writer.write(b"epted\r\nSet-Cookie: voter=x; Path=/\r\nRetry-After: 3\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n2\r\n%b\r\n0\r\n\r\n" % body)

    async with server(answer) as client:
        got = await client.request("GET", "/p/", headers={"Cookie": "a=1"})
        posted = await client.request("POST", "/p/", b"[]")
    assert (got.status, got.json(), got.cookie("voter"), got.cookie("pass")) == (202, {}, "x", None)
    assert (got.header("retry-after"), got.header("nothing")) == ("3", None)
    assert posted.json() == []
    assert heads[0].startswith("GET /base/p/ HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Cookie: a=1\r\n" in heads[0] and "Content-Length: 2\r\n" in heads[1]


async def test_a_connection_is_used_again_unless_it_ended() -> None:
    connections = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for last in (False, True):
            await reader.readuntil(b"\r\n\r\n")
            closing = b"Connection: close\r\n" if last else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + closing + b"\r\n")

    async with server(answer) as client:
        for _ in range(5):
            await client.request("GET", "/")
    assert len(connections) == 3


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200"]
)
async def test_a_lost_answer_is_an_error(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)

    async with server(answer) as client:
        with pytest.raises(ConnectionError):
            await client.request("GET", "/")


async def test_a_silent_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "REQUEST_SECONDS", 0.05)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(answer) as client:
        with pytest.raises(TimeoutError):
            await client.request("GET", "/")


async def test_a_socket_listens_and_answers_pings() -> None:
    seen: dict[str, Any] = {}
    answered, ended = asyncio.Event(), asyncio.Event()

    async def watch(socket: Any) -> None:
        seen["request"] = socket.request
        await socket.send('{"type":"tally"}')
        await (await socket.ping())
        answered.set()
        await socket.wait_closed()
        seen["code"] = socket.close_code
        ended.set()

    async with serve(watch, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}", connections=1)
        listener = await client.listen("/ws/polls/DEMO/", "voter=x")
        await asyncio.wait_for(answered.wait(), PATIENCE)
        assert not listener.lost
        listener.close()
        await asyncio.wait_for(ended.wait(), PATIENCE)
    assert seen["request"].path == "/ws/polls/DEMO/"
    assert seen["request"].headers["Cookie"] == "voter=x"
    assert seen["code"] == 1000


async def test_a_refused_socket_is_an_error() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with server(answer) as client:
        with pytest.raises(ConnectionError):
            await client.listen("/ws/", "")
