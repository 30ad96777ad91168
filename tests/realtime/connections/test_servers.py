"""Viewers on real servers: uvicorn, which hands connections over, and Daphne, which doesn't."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests import fetch
from tests.e2e.clients import Client, new_voter
from tests.servers import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def tally(socket: Any, wanted: Callable[[Any], bool] = lambda _: True) -> Any:
    async with asyncio.timeout(PATIENCE):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "tally" and wanted(message):
                return message


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_socket_stream_and_endpoint_show_the_same(embedded_api: Client) -> None:
    code = await asyncio.to_thread(embedded_api.make_poll)
    stream = f"{embedded_api.system.url}/api/v1/polls/{code}/stream/"
    async with (
        fetch.AsyncClient() as http,
        fetch.async_websocket(f"{embedded_api.system.ws_url}/ws/polls/{code}/") as socket,
        http.stream("GET", stream, headers={"Accept": "text/event-stream"}) as answer,
    ):
        streamed = events(answer)
        assert answer.headers["content-type"].startswith("text/event-stream")
        first = await tally(socket)
        assert await anext(streamed) == first
        voter = await asyncio.to_thread(new_voter, embedded_api.system.url, code)
        cast = await asyncio.to_thread(voter.post, f"/api/v1/polls/{code}/ballots/", json={"selections": [2]})
        assert cast.status_code == 202
        seen = await tally(socket, lambda m: m["ballots"] == 1)
        async for message in streamed:
            if message["type"] == "tally" and message["ballots"] == 1:
                assert message == seen
                break
        asked = await http.get(f"{embedded_api.system.url}/api/v1/polls/{code}/tally/")
        assert {"type": "tally"} | asked.json() == seen


async def test_view_and_snapshot_give_the_same_answer(embedded_api: Client) -> None:
    """The first responses come from the view, later ones from the hub. A proxy must see no difference."""
    code = await asyncio.to_thread(embedded_api.make_poll)
    address = f"{embedded_api.system.url}/api/v1/polls/{code}/tally/"
    async with fetch.AsyncClient() as http:
        answers = []
        for _ in range(12):
            answers.append(await http.get(address))
            etag = answers[-1].headers["etag"]
            unchanged = await http.get(address, headers={"If-None-Match": etag})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["etag"] == etag
            await asyncio.sleep(0.1)
    kept = [
        {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
        for answer in answers
    ]
    assert kept == kept[:1] * 12
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 12


@pytest.mark.parametrize(
    ("path", "origin", "code"), [("NOSUCH", None, 4404), ("", "https://evil.example", 4403)]
)
async def test_a_refused_viewer_gets_a_close_code(
    embedded_api: Client, path: str, origin: Any, code: int
) -> None:
    path = path or await asyncio.to_thread(embedded_api.make_poll)
    async with fetch.async_websocket(
        f"{embedded_api.system.ws_url}/ws/polls/{path}/", origin=origin
    ) as socket:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE)
        assert socket.close_code == code


async def test_a_recheck_after_voting_shows_a_hidden_tally(embedded_api: Client) -> None:
    code = await asyncio.to_thread(embedded_api.make_poll, results_visible="after_vote")
    voter = await asyncio.to_thread(new_voter, embedded_api.system.url, code)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in voter.cookies.items())}
    address = f"{embedded_api.system.ws_url}/ws/polls/{code}/"
    async with fetch.async_websocket(address, additional_headers=cookie) as socket:
        assert not (await tally(socket))["visible"]
        await socket.send('{"type":"recheck"}')
        assert not (await tally(socket))["visible"]
        await asyncio.to_thread(voter.post, f"/api/v1/polls/{code}/ballots/", json={"selections": [1]})
        await socket.send('{"type":"recheck"}')
        assert (await tally(socket, lambda m: m["visible"]))["state"] == "open"
