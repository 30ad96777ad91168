"""The WebSocket handshake."""

import asyncio
import contextlib
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from config.protocols import websocket_connection
from config.protocols.handshake import accept_key_for
from realtime.handover import HAND_OVER
from tests import fetch
from tests.realtime.uvicorn_server import serving
from tests.servers import PATIENCE

REGULAR = [
    (b"host", b"x"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def test_accept_key_matches_the_rfc() -> None:
    assert accept_key_for(REGULAR) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("missing", [b"host", b"sec-websocket-key", b"sec-websocket-version"])
def test_handshake_without_a_required_header_is_malformed(missing: bytes) -> None:
    assert accept_key_for([header for header in REGULAR if header[0] != missing]) is None


@pytest.mark.parametrize(
    "added",
    [
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"origin", b"http://a"),
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_ambiguous_handshake_is_malformed(added: tuple[bytes, bytes]) -> None:
    assert accept_key_for([*REGULAR, (b"origin", b"http://b"), added]) is None


@pytest.mark.parametrize("key", [b"", b"short", b"dGhlIHNhbXBsZSBub25jZQ=!", b"dGhlIHNhbXBsZSBub25jZTEy"])
def test_handshake_with_an_invalid_key_is_malformed(key: bytes) -> None:
    assert accept_key_for([(n, key if n == b"sec-websocket-key" else v) for n, v in REGULAR]) is None


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that doesn't ask for a handover."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "headers": [(b"x-extra", b"1")]})
    told = {name: scope[name] for name in ("path", "scheme")}
    await send(
        {"type": "websocket.send", "text": json.dumps({**told, "query": scope["query_string"].decode()})}
    )
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.mark.parametrize("subprotocols", [None, ["chat"]], ids=["regular", "with a subprotocol"])
async def test_application_without_handover_is_served(subprotocols: Any) -> None:
    async with serving(echo) as (_, port):
        address = f"ws://127.0.0.1:{port}/a%20b/?c=d"
        async with fetch.async_websocket(address, subprotocols=subprotocols, compression=None) as client:
            assert client.response
            assert client.response.headers["x-extra"] == "1"
            assert "date" in client.response.headers
            assert json.loads(await client.recv()) == {
                "path": "/a b/",
                "scheme": "ws",
                "query": "c=d",
            }
            assert client.subprotocol is None
            await client.send("again")
            assert await client.recv() == "again"


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4403})


async def fail_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("on purpose")


async def fail_later(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    raise ValueError("on purpose")


@pytest.mark.parametrize(("app", "status"), [(refuse, 403), (fail_at_once, 500)])
async def test_refusal_before_accept_is_an_http_response(app: Any, status: int) -> None:
    async with serving(app) as (server, port):
        with pytest.raises(InvalidStatus) as refused:
            await fetch.async_websocket(f"ws://127.0.0.1:{port}/")
        assert refused.value.response.status_code == status
        assert not server.server_state.connections


async def test_failing_application_closes_with_1011() -> None:
    async with serving(fail_later) as (server, port):
        client = await fetch.async_websocket(f"ws://127.0.0.1:{port}/")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1011
        async with asyncio.timeout(PATIENCE):
            while server.server_state.connections or server.server_state.tasks:
                await asyncio.sleep(0.01)


async def test_connection_is_aborted_if_the_application_reads_nothing() -> None:
    deaf = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await deaf.wait()

    async with serving(app) as (_, port):
        client = await fetch.async_websocket(f"ws://127.0.0.1:{port}/", compression=None)

        async def talk() -> None:
            while True:
                await client.send("?")
                await asyncio.sleep(0)  # the server is in this loop too

        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(talk(), PATIENCE)
        deaf.set()


@pytest.mark.parametrize("frame", [b"\x89\x80\0\0\0\0", b"\x81\x80\0\0\0\0", b"\x82\x80\0\0\0\0"])
async def test_flooding_client_is_closed_before_a_handover_too(
    frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_connection, "ABORT_AFTER_SECONDS", 0.2)
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        over.set()

    async with serving(app) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"".join(b"%b: %b\r\n" % header for header in REGULAR)
        writer.write(b"GET / HTTP/1.1\r\n%b\r\n" % head)
        await reader.readuntil(b"\r\n\r\n")
        output = b""
        async with asyncio.timeout(PATIENCE):
            while b"\x88" not in output:
                writer.write(frame * 50)
                await asyncio.sleep(0)  # the server is in this loop too
                with contextlib.suppress(TimeoutError):
                    output += await asyncio.wait_for(reader.read(65536), 0.01)
            await over.wait()
        assert output.endswith(websocket_connection.close_frame(1008, "too many messages"))
        writer.close()


async def test_no_handover_before_accept() -> None:
    offered: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        offered.append(scope["extensions"][HAND_OVER](object()))
        await receive()
        await send({"type": "websocket.close"})

    async with serving(app) as (_, port):
        with pytest.raises(InvalidStatus):
            await fetch.async_websocket(f"ws://127.0.0.1:{port}/")
    assert offered == [None]
