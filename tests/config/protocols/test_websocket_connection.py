"""A viewer's WebSocket after the handover, with correct and misbehaving clients."""

import asyncio
import os
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from config.protocols import throttle, websocket_connection
from config.protocols.keepalive import shared_keepalive
from realtime.protocol import Message
from tests import fetch
from tests.config.protocols.raw_websocket import TALLY, close_code, masked, raw_socket
from tests.realtime.uvicorn_server import Handing, serving
from tests.realtime.viewers import until
from tests.servers import PATIENCE

pytestmark = pytest.mark.early


async def test_one_encoded_frame_reaches_all_viewers() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        address = f"ws://127.0.0.1:{port}/"
        async with fetch.async_websocket(address) as one, fetch.async_websocket(address) as two:
            for recorder in (await app.recorder(), await app.recorder()):
                assert recorder.connection
                recorder.connection.send(TALLY)
            assert await one.recv() == await two.recv() == TALLY.text
            assert not one.protocol.extensions


@pytest.mark.parametrize("length", [5, 125, 126, 65535, 65536, 200_000])
async def test_frames_of_every_length_are_received(length: int) -> None:
    message = Message({"type": "tally", "question": "x" * length})
    app = Handing()
    async with serving(app) as (_, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        connection: Any = (await app.recorder()).connection
        connection.send(message)
        assert await client.recv() == message.text


async def test_client_messages_are_delivered_and_the_parser_is_dropped() -> None:
    app = Handing()
    async with serving(app) as (_, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        recorder = await app.recorder()
        connection: Any = recorder.connection
        await client.send("whole")
        await client.send(["in ", "three ", "parts"])
        await client.send(b"binary")
        await (await client.ping())
        await client.send("ümläut")
        await until(lambda: len(recorder.texts) == 3)
        assert recorder.texts == ["whole", "in three parts", "ümläut"]
        assert connection.parser is None


async def test_message_may_arrive_byte_by_byte() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        _, writer = await raw_socket(port)
        recorder = await app.recorder()
        connection: Any = recorder.connection
        for byte in masked(Opcode.TEXT, b"half ", fin=False) + masked(Opcode.PING, b"?"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        assert recorder.texts == []
        writer.write(masked(Opcode.CONT, b"and half"))
        await until(lambda: recorder.texts)
        assert recorder.texts == ["half and half"]
        assert connection.parser is None
        writer.close()


async def test_no_pongs_pile_up_for_a_client_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "ALLOWED_BYTES", 100_000_000)
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await raw_socket(port, receive_buffer=4096)
        recorder = await app.recorder()
        connection: Any = recorder.connection
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(4):
            writer.write(masked(Opcode.PING, b"p" * 125) * 8000)
            await writer.drain()
        assert "paused" in recorder.told
        assert connection.transport.get_write_buffer_size() < 1_000_000  # of the 4 MB of pongs
        writer.close()
        await until(lambda: recorder.told[-1] == "closed")


async def test_large_input_is_processed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "BURST_SECONDS", 1e-4)
    app = Handing()
    async with serving(app) as (_, port):
        _, writer = await raw_socket(port)
        recorder = await app.recorder()
        connection: Any = recorder.connection
        writer.write(masked(Opcode.TEXT, b"") * 2000)
        await until(lambda: not connection.transport.is_reading())
        writer.write(masked(Opcode.TEXT, b"last"))
        await until(lambda: recorder.texts[-1:] == ["last"])
        assert len(recorder.texts) == 2001
        await until(connection.transport.is_reading)
        writer.close()


FLOODS = {
    "pings": (b"", b"\x89\x80\0\0\0\0"),
    "pongs": (b"", b"\x8a\x80\0\0\0\0"),
    "a text without end": (b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0"),
    "texts that are nothing": (b"", b"\x81\x80\0\0\0\0"),
    "closes": (b"", b"\x88\x80\0\0\0\0"),
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("size", [1, 5_000])  # frames in a packet
async def test_client_flooding_with_tiny_frames_is_closed(
    flood: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_connection, "ABORT_AFTER_SECONDS", 0.2)
    app = Handing()
    async with serving(app) as (server, port):
        reader, writer = await raw_socket(port)
        recorder = await app.recorder()
        begin, frame = FLOODS[flood]
        writer.write(begin)

        async def send() -> None:
            while True:
                writer.write(frame * size)
                await writer.drain()
                await asyncio.sleep(0)  # the server is in this loop too

        sending = asyncio.ensure_future(send())
        output = b""
        try:
            async with asyncio.timeout(PATIENCE):
                while b"\x88" not in output:
                    output += await reader.read(65536)
                await until(lambda: not server.server_state.connections)
        finally:
            sending.cancel()
            writer.close()
        await asyncio.gather(sending, return_exceptions=True)
        answer = output[output.index(b"\x88") :]
        assert answer == (
            b"\x88\0" if flood == "closes" else websocket_connection.close_frame(1008, "too many messages")
        )
        assert recorder.told[-1] == "closed"


async def test_normal_viewer_stays_within_the_rate_limit() -> None:
    """A normal viewer may send many messages at once, pings, and a message of the largest size."""
    app = Handing()
    async with (
        serving(app, ws_max_size=16 * 1024) as (_, port),
        fetch.async_websocket(f"ws://127.0.0.1:{port}/", compression=None, ping_interval=None) as client,
    ):
        recorder = await app.recorder()
        for _ in range(100):
            await client.send('{"type":"recheck"}')
        for _ in range(20):
            await (await client.ping())
        await client.send("x" * 16_000)
        await until(lambda: len(recorder.texts) == 101)
        assert "closed" not in recorder.told


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(Opcode.TEXT, b"x" * 1001), 1009),
        (masked(Opcode.TEXT, b"x" * 600, fin=False) + masked(Opcode.CONT, b"x" * 600), 1009),
        (Frame(Opcode.TEXT, b"not masked").serialize(mask=False), 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (masked(Opcode.CONT, b"of nothing"), 1002),
        (masked(Opcode.TEXT, b"\xff\xfe"), 1007),
        (masked(Opcode.CLOSE, (1001).to_bytes(2, "big")), 1001),
    ],
    # The ids are explicit, since masks are random and all xdist workers must collect the same ids.
    ids=["long", "long in parts", "unmasked", "unknown opcode", "nothing continued", "no text", "leaves"],
)
async def test_close_codes_follow_the_rfc(sent: bytes, code: int) -> None:
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await raw_socket(port)
        recorder = await app.recorder()
        writer.write(sent)
        assert await close_code(reader) == code
        assert recorder.told == ["closed"]
        writer.close()


async def test_malformed_input_closes_only_its_own_connection() -> None:
    app = Handing()
    async with serving(app) as (server, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        watching = await app.recorder()
        for _ in range(50):
            _, writer = await raw_socket(port)
            writer.write(os.urandom(200))
            writer.close()
        for _ in range(50):
            recorder = await app.recorder()
            await until(lambda recorder=recorder: recorder.told == ["closed"])
        assert watching.connection
        watching.connection.send(TALLY)
        assert await client.recv() == TALLY.text
        await until(lambda: len(server.server_state.connections) == 1)


async def test_close_code_reaches_the_client() -> None:
    app = Handing()
    async with serving(app) as (_, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        recorder = await app.recorder()
        assert recorder.connection
        recorder.connection.close(4404)
        recorder.connection.send(TALLY)  # has no effect
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4404
        assert recorder.told == ["closed"]


async def test_shutdown_closes_viewers_with_1012() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        client = await fetch.async_websocket(f"ws://127.0.0.1:{port}/")
        recorder = await app.recorder()
    with pytest.raises(ConnectionClosed):
        await client.recv()
    assert client.close_code == 1012
    assert recorder.told == ["closed"]


async def test_zero_window_pauses_and_resumes_writing() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await raw_socket(port, receive_buffer=4096)
        recorder = await app.recorder()
        connection: Any = recorder.connection
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        big, sent = Message({"type": "tally", "question": "x" * 5000}), 0
        while not connection.writing_paused:
            connection.send(big)
            sent += 1
            await asyncio.sleep(0)
        assert recorder.told == ["paused"]
        assert 0 < connection.transport.get_write_buffer_size() <= len(big.frame)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        got = await asyncio.wait_for(reader.readexactly(sent * len(big.frame)), PATIENCE)
        assert got == big.frame * sent
        await until(lambda: recorder.told == ["paused", "resumed"])
        connection.abort()
        await until(lambda: recorder.told[-1] == "closed")
        writer.close()


async def test_only_viewers_without_pong_are_closed() -> None:
    app = Handing()
    interval = 30

    def pass_interval() -> None:
        keepalive = shared_keepalive(asyncio.get_running_loop(), interval)
        assert keepalive
        for _ in range(interval):
            keepalive.ping_next_slot()

    async with serving(app, ws_ping_interval=interval, ws_ping_timeout=interval) as (_, port):
        reader, writer = await raw_socket(port)
        dead = await app.recorder()
        async with fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
            alive = await app.recorder()
            connection: Any = alive.connection
            pass_interval()
            assert not connection.answered
            await until(lambda: connection.answered)
            pass_interval()
            assert await close_code(reader) == 1011
            assert (dead.told, alive.told) == (["closed"], [])
            connection.send(TALLY)
            assert await client.recv() == TALLY.text
        writer.close()
