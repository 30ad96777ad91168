"""Complete casts may be refused before parsing. They get the same response as parsed ones."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from config.protocols.uvicorn.connection import LandslideHttp
from polls.casting.asgi_lane import AsgiLane
from polls.casting.backpressure import STANDING_QUEUE_LIMIT
from polls.casting.raw_http_lane import RawHttpLane

BODY = b'{"selections":[1]}'
HEAD = (
    b"POST /api/v1/polls/DEMO/ballots/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"X-Request-ID: my-own-id\r\nContent-Length: %d\r\n\r\n" % len(BODY)
)
CAST = HEAD + BODY
OTHER = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


async def behind(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def crowded(lane: AsgiLane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overload the lane: casts have been waiting for 10 s."""
    casts = lane.casts()
    for _ in range(STANDING_QUEUE_LIMIT):
        casts.backpressure.enter()
    monkeypatch.setattr(casts.backpressure, "_busy_since", casts.loop.time() - 10)
    assert casts.backpressure.full


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[AsgiLane]:
    lane = AsgiLane(behind)
    lane._overloaded = lane._overloaded[:1]  # one Retry-After for all responses
    monkeypatch.setattr(LandslideHttp, "raw_lane", RawHttpLane(lane).take)
    yield lane
    lane.loader._threads.shutdown()


def connected(lane: AsgiLane) -> tuple[LandslideHttp, Transport]:
    config = uvicorn.Config(lane, log_config=None, lifespan="off")
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    protocol, transport = LandslideHttp(config, state, {}), Transport()
    protocol.connection_made(transport)
    return protocol, transport


async def answer_to(protocol: LandslideHttp, transport: Transport, *pieces: bytes) -> tuple[bytes, bytes]:
    transport.sent = b""
    for piece in pieces:
        protocol.data_received(piece)
    for _ in range(20):
        await asyncio.sleep(0)
    head, _, body = transport.sent.partition(b"\r\n\r\n")
    return head, body


async def test_whole_cast_gets_the_same_503_as_by_the_asgi_lane(
    lane: AsgiLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowded(lane, monkeypatch)
    protocol, transport = connected(lane)
    unread = await answer_to(protocol, transport, CAST)
    parsed = await answer_to(protocol, transport, HEAD, BODY)  # a request in two pieces must be parsed
    assert unread[1] == parsed[1]
    assert sorted(unread[0].lower().split(b"\r\n")) == sorted(parsed[0].lower().split(b"\r\n"))
    assert unread[0].startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: " in unread[0]
    assert b"\r\nx-request-id: my-own-id" in unread[0]
    assert json.loads(unread[1])["code"] == "overloaded"


async def test_connection_stays_usable_after_a_503(lane: AsgiLane, monkeypatch: pytest.MonkeyPatch) -> None:
    await crowded(lane, monkeypatch)
    protocol, transport = connected(lane)
    for _ in range(3):
        assert b" 503 " in (await answer_to(protocol, transport, CAST))[0]
        assert (await answer_to(protocol, transport, OTHER))[1] == b"ok"
    assert protocol.timeout_keep_alive_task is not None  # an idle connection is still closed


@pytest.mark.parametrize(
    "data",
    [
        CAST[:-1],
        CAST + b"x",
        CAST + CAST,
        CAST.replace(b"POST", b"GET"),
        CAST.replace(b"/ballots/", b"/ballots/batch/"),
        CAST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        CAST.replace(b"X-Request-ID: my-own-id", b"Connection: close"),
        CAST.replace(b"X-Request-ID: my-own-id", b"Expect: 100-continue"),
        CAST.replace(b"Content-Length", b"Content-Size"),
        OTHER,
        b"",
    ],
)
async def test_anything_but_one_whole_cast_is_parsed(
    lane: AsgiLane, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    await crowded(lane, monkeypatch)
    output: list[bytes] = []
    assert RawHttpLane(lane).take(CAST, lambda head, body: output.append(head + body))
    assert b'"overloaded"' in output.pop()
    assert not RawHttpLane(lane).take(data, lambda head, body: output.append(head + body))
    assert not output


async def test_body_that_looks_like_a_cast_is_a_body(lane: AsgiLane, monkeypatch: pytest.MonkeyPatch) -> None:
    await crowded(lane, monkeypatch)
    protocol, transport = connected(lane)
    head = b"POST /elsewhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(CAST)
    assert (await answer_to(protocol, transport, head, CAST))[1] == b"ok"
