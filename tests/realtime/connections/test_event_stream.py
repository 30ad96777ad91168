"""Event streams carry the same messages as WebSockets. The view refuses other requests."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from config.asgi import application, django_application
from polls import lifecycle
from polls.voters import identity
from realtime.connections import event_stream
from tests.polls.origin_cases import ORIGIN_CASES, origin_headers
from tests.realtime.asgi_client import Answer, Stream, ask, http_scope
from tests.realtime.viewers import cast, cast_with_pass, count, db, make_poll, until

pytestmark = [pytest.mark.django_db(transaction=True)]
HOST = (b"host", b"testserver")
ACCEPT = (b"accept", b"text/event-stream")


def address(code: str) -> str:
    return f"/api/v1/polls/{code}/stream/"


@pytest.fixture
async def stream(watch: Any) -> AsyncIterator[Callable[..., Any]]:
    """`await stream("CODE", cookie=b"…")` begins a Stream. `watch` stops the hub afterwards."""
    streams: list[Stream] = []

    async def begin(code: str, cookie: bytes = b"") -> Stream:
        headers = [HOST, ACCEPT, *([(b"cookie", cookie)] if cookie else [])]
        streams.append(Stream(application, http_scope("GET", address(code), headers)))
        return await streams[-1].begun()

    yield begin
    for each in streams:
        await each.leave()


async def tally(stream: Stream, wanted: Callable[[Any], bool] = lambda _: True) -> Any:
    while True:
        event = await stream.event()
        if event.get("event") == "tally":
            data = json.loads(event["data"])
            assert data["type"] == "tally"
            if wanted(data):
                return data


async def test_the_stream_sends_the_same_messages_as_the_socket(stream: Any, watch: Any) -> None:
    poll = await db(make_poll)()
    events = await stream(poll.code.lower())
    assert events.status == 200
    assert events.headers[b"content-type"].startswith(b"text/event-stream")
    assert events.headers[b"access-control-allow-origin"] == b"*"
    assert events.headers[b"cache-control"] == b"no-store"
    assert events.headers[b"x-accel-buffering"] == b"no"
    socket = await watch(poll.code)
    assert await tally(events) == await socket.tally()
    assert json.loads((await events.event())["data"])["type"] == "viewers"
    await db(cast)(poll, [2])
    await db(count)()
    wanted = await socket.tally(lambda m: m["ballots"] == 1)
    assert await tally(events, lambda m: m["ballots"] == 1) == wanted
    await db(lifecycle.close_poll)(poll.pk)
    while (event := await events.event())["event"] != "state":
        pass
    assert json.loads(event["data"])["state"] == "closing"


async def test_every_block_has_an_event(stream: Any) -> None:
    """Some clients treat each block as an event, so the block with the retry time must have one too."""
    events = await stream((await db(make_poll)()).code)
    first = await events.event()
    assert list(first) == ["retry", "event", "data"]
    assert first["event"] == "tally" and 1000 <= int(first["retry"]) <= 4000
    assert list(await events.event()) == ["event", "data"]


async def test_a_hidden_tally_is_shown_only_to_voters(stream: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote")
    cookie = await db(cast)(poll, [1])
    await db(count)()
    voter, other = await stream(poll.code, f"voter={cookie}".encode()), await stream(poll.code)
    assert (await tally(voter, lambda m: m["visible"]))["ballots"] == 1
    assert not (await tally(other))["visible"]
    for each in (voter, other):
        assert b"access-control-allow-origin" not in each.headers
        assert each.headers[b"vary"] == b"Cookie"


async def test_a_voter_is_identified_by_a_pass(stream: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote", identity="invite")
    voted = await db(cast_with_pass)(poll, [1], b"v" * 16)
    waiting = identity.make_pass("invite", poll.pk, poll.voter_secret(), b"w" * 16)
    await db(count)()
    voter, other = [await stream(poll.code, f"pass={each}".encode()) for each in (voted, waiting)]
    assert (await tally(voter, lambda m: m["visible"]))["ballots"] == 1
    assert not (await tally(other))["visible"]


@pytest.mark.parametrize(("scheme", "told", "origin", "ours"), ORIGIN_CASES)
def test_cookies_count_only_for_our_own_origin(
    settings: Any, scheme: str, told: bytes | None, origin: bytes, ours: bool
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = [(b"host", b"testserver"), (b"cookie", b"voter=x"), *origin_headers(told, origin)]
    scope = http_scope("GET", address("DEMO"), headers, scheme=scheme)
    assert event_stream._access_cookies(scope) == (b"voter=x" if ours else b"")


async def test_a_viewer_that_leaves_is_no_longer_counted(stream: Any) -> None:
    poll = await db(make_poll)()
    one, two = await stream(poll.code), await stream(poll.code)
    await tally(two)
    await one.leave()
    while (event := await two.event()).get("event") != "viewers" or '"count":1' not in event["data"]:
        pass


async def test_a_deleted_poll_ends_its_streams(stream: Any) -> None:
    poll = await db(make_poll)()
    events = await stream(poll.code)
    await tally(events)
    await db(poll.delete)()
    await until(lambda: events.ended)


async def test_without_handover_a_stream_has_a_maximum_duration(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_STREAM_SECONDS", 1.0)
    poll = await db(make_poll)()
    events = await stream(poll.code)
    await tally(events)
    await until(lambda: events.ended)


def same(answer: Answer) -> tuple[int, dict[bytes, bytes], bytes]:
    headers = {name.lower(): value for name, value in answer.headers}
    headers.pop(b"x-request-id", None)
    return answer.status, headers, answer.body


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", [HOST, ACCEPT], 404),
        ("GET", [HOST], 404),
        ("GET", [HOST, (b"accept", b"application/json")], 404),
        ("GET", [HOST, (b"accept", b"image/png")], 406),
        ("POST", [HOST, ACCEPT], 405),
        ("GET", [(b"host", b"evil.example"), ACCEPT], 400),
    ],
)
async def test_unknown_polls_are_refused_as_by_the_api(
    watch: Any, method: str, headers: Any, status: int
) -> None:
    got = same(await ask(application, http_scope(method, address("NOSUCH"), headers)))
    assert got == same(await ask(django_application, http_scope(method, address("NOSUCH"), headers)))
    assert got[0] == status
    assert got[1][b"content-type"] == b"application/problem+json"
    if status == 404:
        tally = await ask(application, http_scope("GET", "/api/v1/polls/NOSUCH/tally/", [HOST]))
        assert json.loads(got[2]) == json.loads(tally.body)


async def test_a_client_that_accepts_no_event_stream_is_refused(watch: Any) -> None:
    poll = await db(make_poll)()
    json_only = [HOST, (b"accept", b"application/json")]
    assert (await ask(application, http_scope("GET", address(poll.code), json_only))).status == 406
    head = await ask(application, http_scope("HEAD", address(poll.code), [HOST, ACCEPT]))
    assert (head.status, head.body) == (200, b"")
