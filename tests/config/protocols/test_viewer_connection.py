"""A viewer's connection in Landslide's own hands, facing clients that know the protocol and others."""

import asyncio
import os
import socket
from typing import Any

import h11
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from config.protocols import throttle, uvicorn_limits, uvicorn_protocols, viewer_connection
from config.protocols.keepalive import Keepalive
from realtime.protocol import Message
from tests import fetch
from tests.realtime.serving import Handing, serving
from tests.realtime.viewing import until
from tests.servers import PATIENCE

pytestmark = pytest.mark.early


@pytest.fixture(autouse=True, params=["our handshake", "uvicorn's"])
def handshake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "uvicorn's":
        monkeypatch.setattr(uvicorn_protocols.LandslideHttp, "regular_handshake", lambda _: None)


TALLY = Message({"type": "tally", "ballots": 7})


async def raw_socket(
    port: int, headers: bytes = b"", early: bytes = b"", **options: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket after its handshake, with nobody to answer pings or to refuse nonsense."""
    sock = socket.socket()
    if "receive_buffer" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_buffer"])
    sock.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(
        b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"%b\r\n%b" % (headers, early)
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def masked(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def close_code(reader: asyncio.StreamReader) -> int:
    """Of the close frame that comes next, behind which the server hangs up."""
    data = await asyncio.wait_for(reader.read(), PATIENCE)
    at = data.index(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")


async def test_one_encoded_frame_reaches_all() -> None:
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
async def test_frames_of_every_length_are_read_as_they_were_meant(length: int) -> None:
    message = Message({"type": "tally", "question": "x" * length})
    app = Handing()
    async with serving(app) as (_, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        line: Any = (await app.recorder()).connection
        line.send(message)
        assert await client.recv() == message.text


async def test_what_a_client_says_is_heard_and_leaves_nothing_behind() -> None:
    app = Handing()
    async with serving(app) as (_, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        recorder = await app.recorder()
        line: Any = recorder.connection
        await client.send("whole")
        await client.send(["in ", "three ", "parts"])
        await client.send(b"binary")
        await (await client.ping())
        await client.send("ümläut")
        await until(lambda: len(recorder.texts) == 3)
        assert recorder.texts == ["whole", "in three parts", "ümläut"]
        assert line.incoming is None


async def test_bytes_that_come_one_by_one_make_the_same_message() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        _, writer = await raw_socket(port)
        recorder = await app.recorder()
        line: Any = recorder.connection
        for byte in masked(Opcode.TEXT, b"half ", fin=False) + masked(Opcode.PING, b"?"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        assert recorder.texts == []
        writer.write(masked(Opcode.CONT, b"and half"))
        await until(lambda: recorder.texts)
        assert recorder.texts == ["half and half"]
        assert line.incoming is None
        writer.close()


async def test_pings_of_a_client_that_reads_nothing_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "ALLOWED_BYTES", 100_000_000)
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await raw_socket(port, receive_buffer=4096)
        recorder = await app.recorder()
        line: Any = recorder.connection
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(4):
            writer.write(masked(Opcode.PING, b"p" * 125) * 8000)
            await writer.drain()
        assert "paused" in recorder.told
        assert line.transport.get_write_buffer_size() < 1_000_000  # of four
        writer.close()
        await until(lambda: recorder.told[-1] == "closed")


async def test_what_is_sent_in_plenty_is_heard_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "BURST_SECONDS", 1e-4)
    app = Handing()
    async with serving(app) as (_, port):
        _, writer = await raw_socket(port)
        recorder = await app.recorder()
        line: Any = recorder.connection
        writer.write(masked(Opcode.TEXT, b"") * 2000)
        await until(lambda: not line.transport.is_reading())
        writer.write(masked(Opcode.TEXT, b"last"))
        await until(lambda: recorder.texts[-1:] == ["last"])
        assert len(recorder.texts) == 2001
        await until(line.transport.is_reading)
        writer.close()


async def test_what_came_with_an_odd_handshake_waits_its_turn_across_the_hand_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(throttle, "BURST_SECONDS", 1e-6)  # one slice, and the others wait
    app = Handing()
    async with serving(app) as (server, port):
        _, neighbour = await raw_socket(port)
        recorders = [await app.recorder()]
        odd = {"headers": b"Sec-WebSocket-Protocol: x\r\n", "early": masked(Opcode.TEXT, b"") * 500}
        writers = [(await raw_socket(port, **odd))[1] for _ in range(3)]  # type: ignore[arg-type]
        neighbour.write(masked(Opcode.TEXT, b"word"))
        recorders += [await app.recorder() for _ in writers]
        for writer in writers:
            writer.write(masked(Opcode.TEXT, b"last"))
        await until(lambda: all(each.texts[-1:] == ["last"] for each in recorders[1:]))
        await until(lambda: recorders[0].texts == ["word"])
        assert [len(each.texts) for each in recorders] == [1, 501, 501, 501]
        assert len(server.server_state.connections) == 4
        for writer in [neighbour, *writers]:
            writer.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


FLOODS = {
    "pings": (b"", b"\x89\x80\0\0\0\0"),
    "pongs": (b"", b"\x8a\x80\0\0\0\0"),
    "a text without end": (b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0"),
    "texts that are nothing": (b"", b"\x81\x80\0\0\0\0"),
    "closes": (b"", b"\x88\x80\0\0\0\0"),
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("size", [1, 5_000])  # frames in a packet
async def test_who_sends_tiny_frames_without_end_is_let_go(
    flood: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_connection, "GOODBYE_SECONDS", 0.2)
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
        said = b""
        try:
            async with asyncio.timeout(PATIENCE):
                while b"\x88" not in said:
                    said += await reader.read(65536)
                await until(lambda: not server.server_state.connections)
        finally:
            sending.cancel()
            writer.close()
        await asyncio.gather(sending, return_exceptions=True)
        answer = said[said.index(b"\x88") :]
        assert answer == (
            b"\x88\0" if flood == "closes" else viewer_connection.close_frame(1008, "too many messages")
        )
        assert recorder.told[-1] == "closed"


async def test_an_honest_viewer_may_say_what_a_viewer_has_to_say() -> None:
    """Many words at a time, pings of its own, and a message of the largest size."""
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


@pytest.mark.parametrize("split", [0, 1, 3, 9])
async def test_what_came_before_the_hand_over_is_heard_after_it(split: int) -> None:
    app = Handing()
    app.ready.clear()
    async with serving(app) as (_, port):
        _, writer = await raw_socket(port)
        early = masked(Opcode.TEXT, b"early")
        writer.write(early + early[:split])
        await asyncio.sleep(0.05)
        app.ready.set()
        recorder = await app.recorder()
        writer.write(early[split:] + masked(Opcode.TEXT, b"late"))
        await until(lambda: len(recorder.texts) == 3)
        assert recorder.texts == ["early", "early", "late"]
        writer.close()
        await until(lambda: recorder.told == ["closed"])


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
    # Named, since a mask is another one in each process, and all that share the tests must collect the same.
    ids=["long", "long in parts", "unmasked", "unknown opcode", "nothing continued", "no text", "leaves"],
)
async def test_it_closes_as_the_protocol_says(sent: bytes, code: int) -> None:
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await raw_socket(port)
        recorder = await app.recorder()
        writer.write(sent)
        assert await close_code(reader) == code
        assert recorder.told == ["closed"]
        writer.close()


async def test_nonsense_harms_nobody_but_who_sent_it() -> None:
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


async def test_the_server_says_why_it_closes() -> None:
    app = Handing()
    async with serving(app) as (_, port), fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
        recorder = await app.recorder()
        assert recorder.connection
        recorder.connection.close(4404)
        recorder.connection.send(TALLY)  # comes to nothing
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4404
        assert recorder.told == ["closed"]


async def test_at_shutdown_viewers_are_sent_elsewhere() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        client = await fetch.async_websocket(f"ws://127.0.0.1:{port}/")
        recorder = await app.recorder()
    with pytest.raises(ConnectionClosed):
        await client.recv()
    assert client.close_code == 1012
    assert recorder.told == ["closed"]


async def test_a_zero_window_is_noticed_at_once_and_when_it_opens() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await raw_socket(port, receive_buffer=4096)
        recorder = await app.recorder()
        line: Any = recorder.connection
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        big, sent = Message({"type": "tally", "question": "x" * 5000}), 0
        while not line.writing_paused:
            line.send(big)
            sent += 1
            await asyncio.sleep(0)
        assert recorder.told == ["paused"]
        assert 0 < line.transport.get_write_buffer_size() <= len(big.frame)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        got = await asyncio.wait_for(reader.readexactly(sent * len(big.frame)), PATIENCE)
        assert got == big.frame * sent
        await until(lambda: recorder.told == ["paused", "resumed"])
        line.abort()
        await until(lambda: recorder.told[-1] == "closed")
        writer.close()


async def test_who_answers_no_ping_is_dropped_and_who_does_is_not() -> None:
    app = Handing()
    interval = 30

    def pass_interval() -> None:
        keepalive = uvicorn_protocols.shared_keepalive(asyncio.get_running_loop(), interval)
        assert keepalive
        for _ in range(interval):
            keepalive.turn()

    async with serving(app, ws_ping_interval=interval, ws_ping_timeout=interval) as (_, port):
        reader, writer = await raw_socket(port)
        dead = await app.recorder()
        async with fetch.async_websocket(f"ws://127.0.0.1:{port}/") as client:
            alive = await app.recorder()
            line: Any = alive.connection
            pass_interval()
            assert not line.answered
            await until(lambda: line.answered)
            pass_interval()
            assert await close_code(reader) == 1011
            assert (dead.told, alive.told) == (["closed"], [])
            line.send(TALLY)
            assert await client.recv() == TALLY.text
        writer.close()


async def test_the_keepalive_has_one_timer_and_none_without_lines() -> None:
    class Line:
        slot = 0
        answered = True

        def __init__(self) -> None:
            self.told: list[str] = []

        def ping(self) -> None:
            self.told.append("ping")

        def lost(self) -> None:
            self.told.append("lost")

    keepalive = Keepalive(asyncio.get_running_loop(), 3)
    lines = [Line() for _ in range(6)]
    for line in lines:
        keepalive.add(line)
    for _ in range(3):
        keepalive.turn()
    assert [line.told for line in lines] == [["ping"]] * 6
    for line in lines[:3]:
        line.answered = True
    for _ in range(3):
        keepalive.turn()
    assert [line.told for line in lines] == [["ping", "ping"]] * 3 + [["ping", "lost"]] * 3
    for line in lines:
        keepalive.discard(line)
    keepalive.turn()
    assert keepalive._timer is None


async def test_events_go_out_as_chunks_of_the_response_that_was_begun() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target="/x/stream/?y", headers=[("Host", "x")])
        writer.write(client.send(request) or b"")
        recorder = await app.recorder()
        assert recorder.connection
        recorder.connection.send(TALLY)
        writer.write(b"GET /another/ HTTP/1.1\r\nHost: x\r\n\r\n")  # never has its turn
        await asyncio.sleep(0.02)
        recorder.connection.close(0)
        client.receive_data(await asyncio.wait_for(reader.read(), PATIENCE))
        assert client.next_event().status_code == 200  # type: ignore[union-attr]
        body = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            body += event.data  # type: ignore[union-attr]
        assert body == b"begun" + TALLY.event
        assert client.trailing_data == (b"", False)
        assert recorder.told == ["closed"]
        writer.close()


async def test_a_stream_ends_with_its_client_and_with_the_server() -> None:
    app = Handing()
    async with serving(app) as (server, port):
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        for writer in writers:
            writer.write(b"GET /x/stream/ HTTP/1.1\r\nHost: x\r\n\r\n")
        first, second = await app.recorder(), await app.recorder()
        writers[0].close()
        await until(lambda: first.told + second.told == ["closed"])
        assert len(server.server_state.connections) == 1
    assert first.told == second.told == ["closed"]
    writers[1].close()


def test_the_seam_is_as_we_know_it() -> None:
    assert uvicorn_protocols.seam_is_known()
    assert uvicorn_protocols.classes() == (
        uvicorn_protocols.LandslideHttp,
        uvicorn_protocols.LandslideWebSocket,
    )


def changed(seam: uvicorn_limits.Seam) -> uvicorn_limits.Seam:
    return tuple((base, names | {"no_longer_there"}, methods) for base, names, methods in seam)


def test_another_uvicorn_serves_by_plain_sends_within_the_same_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uvicorn_protocols, "SEAM", changed(uvicorn_protocols.SEAM))
    assert uvicorn_protocols.classes() == (uvicorn_limits.BoundedHttp, uvicorn_limits.BoundedWebSocket)


def test_a_uvicorn_that_cannot_be_bounded_is_not_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocols, "BOUNDS", changed(uvicorn_protocols.BOUNDS))
    with pytest.raises(SystemExit, match="Landslide doesn't know uvicorn"):
        uvicorn_protocols.classes()


async def test_compressed_connections_are_not_handed_over() -> None:
    app = Handing()
    async with (
        serving(app, ws_per_message_deflate=True) as (_, port),
        fetch.async_websocket(f"ws://127.0.0.1:{port}/"),
    ):
        assert (await app.recorder()).connection is None
