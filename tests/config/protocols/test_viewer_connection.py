"""Event streams after the handover."""

import asyncio

import h11
import pytest

from tests.config.protocols.raw_websocket import TALLY
from tests.realtime.uvicorn_server import Handing, serving
from tests.realtime.viewers import until
from tests.servers import PATIENCE

pytestmark = pytest.mark.early


async def test_events_are_chunks_of_the_response() -> None:
    app = Handing()
    async with serving(app) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target="/x/stream/?y", headers=[("Host", "x")])
        writer.write(client.send(request) or b"")
        recorder = await app.recorder()
        assert recorder.connection
        recorder.connection.send(TALLY)
        writer.write(b"GET /another/ HTTP/1.1\r\nHost: x\r\n\r\n")  # is never answered
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


async def test_stream_ends_with_its_client_or_the_server() -> None:
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
