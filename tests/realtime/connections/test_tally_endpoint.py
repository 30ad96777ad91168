"""The tally lane answers as the view does, byte for byte, or passes the request on."""

import asyncio
import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.asgi import django_application
from config.security.body_limit import BodyLimit
from polls import lifecycle
from realtime import hub as hub_module
from realtime.connections.tally_endpoint import TallyLane
from tests.realtime.asgi_client import Answer, Headers, ask, http_scope
from tests.realtime.viewers import cast, count, db, make_poll, until
from tests.servers import PATIENCE

pytestmark = [pytest.mark.django_db(transaction=True)]
HOST = (b"host", b"testserver")
EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))


class Behind:
    """The application behind the lane. It counts the requests that are passed on."""

    def __init__(self) -> None:
        self.asked = 0
        self.app = BodyLimit(django_application, 10_000_000)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await self.app(scope, receive, send)


def address(code: str) -> str:
    return f"/api/v1/polls/{code}/tally/"


async def get(app: Any, code: str, *headers: tuple[bytes, bytes]) -> Answer:
    return await ask(app, http_scope("GET", address(code), [HOST, *headers]))


async def warmed(lane: TallyLane, code: str) -> bytes:
    """Make requests until the lane can answer by itself. Return the tally's ETag."""
    first = await get(lane, code)
    etag = {name.lower(): value for name, value in first.headers}[b"etag"]
    await get(lane, code, (b"if-none-match", etag))
    hub = hub_module.get_hub()
    await until(lambda: (channel := hub.find_channel(code)) and channel.frames and channel.subscribed)
    return etag


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the hub may check the database too late for the lane to trust it."""
    monkeypatch.setattr("realtime.connections.tally_endpoint.TRUSTED_SECONDS", 3600.0)


@pytest.fixture
async def lane(watch: Any) -> tuple[TallyLane, Behind]:
    behind = Behind()
    return TallyLane(behind), behind


async def test_the_lane_repeats_answers_of_the_view(lane: Any) -> None:
    front, behind = lane
    poll = await db(make_poll)()
    etag = await warmed(front, poll.code)
    seen = behind.asked
    whole, same = await get(front, poll.code), await get(front, poll.code, (b"if-none-match", etag))
    assert behind.asked == seen
    assert (whole.status, same.status) == (200, 304)
    assert whole == await get(behind, poll.code)
    assert same == await get(behind, poll.code, (b"if-none-match", etag))
    assert json.loads(whole.body)["ballots"] == 0


async def test_a_change_in_this_process_is_visible_at_once(lane: Any) -> None:
    """After a process has counted or closed, its own responses show the change."""
    front, behind = lane
    poll = await db(make_poll)()
    await warmed(front, poll.code)
    for number in range(1, 6):
        await db(cast)(poll, [1])
        await db(count)()
        assert json.loads((await get(front, poll.code)).body)["ballots"] == number
    await db(lifecycle.close_poll)(poll.pk)
    assert json.loads((await get(front, poll.code)).body)["state"] == "closing"
    await db(count)()
    assert json.loads((await get(front, poll.code)).body)["state"] == "closed"
    seen = behind.asked
    await until(lambda: hub_module.get_hub().find_channel(poll.code).change_seen is not None)
    async with asyncio.timeout(PATIENCE):
        while behind.asked != seen:  # until the lane answers by itself again
            seen = behind.asked
            await asyncio.sleep(0.05)
            await get(front, poll.code)


async def test_unconfirmed_snapshots_are_not_used(lane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    front, behind = lane
    poll = await db(make_poll)()
    await warmed(front, poll.code)
    seen = behind.asked
    monkeypatch.setattr("realtime.connections.tally_endpoint.TRUSTED_SECONDS", 0.0)
    await get(front, poll.code)
    assert behind.asked == seen + 1


async def test_requests_keep_a_channel_open_and_idle_channels_close(
    lane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "IDLE_CHANNEL_SECONDS", 3600)
    front, _ = lane
    poll = await db(make_poll)()
    await warmed(front, poll.code)
    hub = hub_module.get_hub()
    channel = hub.find_channel(poll.code)
    channel.last_used_at -= 1800
    await get(front, poll.code)
    channel.last_used_at -= 1800  # without the request it would have been unused for an hour
    await hub._check_channels()
    assert hub.find_channel(poll.code) is channel
    channel.last_used_at -= 3600
    await until(lambda: hub.find_channel(poll.code) is None)


async def test_unknown_polls_open_no_channel(lane: Any) -> None:
    front, _ = lane
    for code in ("NOSUCH", "WHAT", "X" * 32):
        assert (await get(front, code)).status == 404
    assert hub_module.get_hub().channel_count == 0


header_values = st.one_of(
    st.sampled_from(
        [
            b"",
            b"*/*",
            b"text/html",
            b"application/json",
            b"image/*;q=0.5",
            b"de, en;q=0.5",
            b"gzip",
            b"*",
            b"1",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.encode),
)
header_names = st.sampled_from(
    b"accept accept-language accept-encoding cookie content-type content-length origin user-agent range"
    b" x-forwarded-proto x-forwarded-host x-http-method-override authorization if-modified-since".split()
)
cookies = st.sampled_from(
    [
        b"voter=x",
        b"voter=",
        b"csrftoken=bad",
        b"sessionid=",
        b"sessionid=x; voter=y",
        b"django_language=de",
        b";",
    ]
)
headers = st.lists(
    st.one_of(
        st.tuples(header_names, header_values),
        st.tuples(st.just(b"cookie"), cookies),
        st.tuples(
            st.just(b"if-none-match"),
            st.sampled_from([b"ETAG", b"W/ETAG", b'"1-1"', b"*", b'"x", ETAG', b"ETAG,ETAG", b'"', b"\xff"]),
        ),
    ),
    max_size=4,
    unique_by=lambda header: header[0],
)
requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET"] * 8 + ["HEAD", "POST", "OPTIONS", "DELETE"]),
        "code": st.sampled_from(["always"] * 6 + ["lower", "after_close", "after_vote", "NOSUCH", "A B"]),
        "host": st.sampled_from([b"testserver"] * 6 + [b"testserver:80", b"evil.example", b"", b"a b"]),
        "scheme": st.sampled_from(["http"] * 4 + ["https"]),
        "query": st.sampled_from([b""] * 6 + [b"format=json", b"x=%00"]),
        "headers": headers,
    }
)


def comparable(headers: Headers) -> Headers:
    """Drop the values of cookies: Django sets a new one each time, so only the name can be compared."""
    cookie = b"set-cookie"
    return [(n, value.partition(b"=")[0] if n.lower() == cookie else value) for n, value in headers]


class Differential:
    """A few polls, and two applications to ask about them, on one event loop."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.behind = Behind()
        self.lane = TallyLane(self.behind)
        self.etags: dict[str, bytes] = {}
        self.alone = self.compared = 0

    async def prepare(self) -> None:
        self.codes = {"NOSUCH": "NOSUCH", "A B": "A B"}
        for name, fields in (
            ("always", {}),
            ("after_close", {"results_visible": "after_close"}),
            ("after_vote", {"results_visible": "after_vote"}),
        ):
            poll = await db(make_poll)(**fields)
            await db(cast)(poll, [1])
            self.codes[name] = poll.code
        await db(count)()
        self.codes["lower"] = self.codes["always"].lower()
        self.etag = await warmed(self.lane, self.codes["always"])

    def compare(self, request: dict[str, Any]) -> None:
        sent: Headers = [(b"host", request["host"]), *request["headers"]]
        sent = [(name, value.replace(b"ETAG", self.etag)) for name, value in sent]
        path = address(self.codes[request["code"]])
        scope = http_scope(request["method"], path, sent, request["query"], scheme=request["scheme"])
        # Ask twice, since the lane has to see an answer before it can repeat it.
        self.runner.run(ask(self.lane, dict(scope)))
        passed_on = self.behind.asked
        fast = self.runner.run(ask(self.lane, dict(scope)))
        self.compared += 1
        self.alone += self.behind.asked == passed_on
        slow = self.runner.run(ask(self.behind.app, dict(scope)))
        assert (fast.status, fast.body) == (slow.status, slow.body)
        assert comparable(fast.headers) == comparable(slow.headers)

    def close(self) -> None:
        hub = hub_module.current_hub()
        assert hub
        self.runner.run(hub.stop())
        self.runner.close()


@pytest.mark.slow
def test_lane_and_view_give_the_same_answer_to_any_request(transactional_db: None) -> None:
    both = Differential()
    try:
        both.runner.run(both.prepare())
        bounded = settings(
            max_examples=EXAMPLES or 100,
        )

        @bounded
        @given(request=requests)
        def asked_both_ways(request: dict[str, Any]) -> None:
            both.compare(request)

        asked_both_ways()
        assert both.alone > both.compared / 8, "the lane answered too seldom to compare it"
    finally:
        both.close()
