"""The handover of a WebSocket to the application."""

import asyncio

import pytest
from websockets.frames import Opcode

from config.protocols import throttle
from tests.config.protocols.raw_websocket import masked, raw_socket
from tests.realtime.uvicorn_server import Handing, serving
from tests.realtime.viewers import until

pytestmark = pytest.mark.early


@pytest.mark.parametrize("split", [0, 1, 3, 9])
async def test_messages_before_the_handover_are_delivered_after_it(split: int) -> None:
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


async def test_input_sent_with_the_handshake_is_throttled_across_the_handover(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(throttle, "BURST_SECONDS", 1e-6)  # enough for one slice
    app = Handing()
    async with serving(app) as (server, port):
        _, neighbour = await raw_socket(port)
        recorders = [await app.recorder()]
        early = masked(Opcode.TEXT, b"") * 500
        writers = [(await raw_socket(port, early=early))[1] for _ in range(3)]
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
