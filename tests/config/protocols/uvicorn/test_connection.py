"""Requests that are answered from their bytes, on uvicorn's connection."""

from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from config.protocols.uvicorn.connection import HIGH_WATER_LIMIT, LandslideHttp
from tests.config.protocols.test_early_refusals import OTHER, Transport, answer_to, behind


class SlowReader(Transport):
    waiting = 0

    def get_write_buffer_size(self) -> int:
        return self.waiting


async def test_a_client_that_reads_no_answers_is_left_to_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are much larger than requests for them: without flow control they would fill the memory."""
    answered = []

    def raw_lane(data: bytes, reply: Any, *_: Any) -> bool:
        answered.append(data)
        reply(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n", b"raw")
        return True

    monkeypatch.setattr(LandslideHttp, "raw_lane", raw_lane)
    config = uvicorn.Config(behind, log_config=None, lifespan="off")
    config.load()
    protocol, transport = LandslideHttp(config, ServerState(), {}), SlowReader()
    protocol.connection_made(transport)
    assert (await answer_to(protocol, transport, OTHER))[1] == b"raw"
    transport.waiting = HIGH_WATER_LIMIT
    assert (await answer_to(protocol, transport, OTHER))[1] == b"ok"
    transport.waiting = 0
    assert (await answer_to(protocol, transport, OTHER))[1] == b"raw"
    assert answered == [OTHER, OTHER]
