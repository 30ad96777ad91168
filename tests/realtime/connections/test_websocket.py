"""Viewers on WebSockets, with the real channel layer, vote log and database."""

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from polls import lifecycle
from polls.voters import identity
from realtime import hub as hub_module
from realtime import publish
from realtime.channels import Subscriber
from realtime.connections.asgi_connection import ASGIConnection
from realtime.protocol import Message
from tests.polls.origin_cases import ORIGIN_CASES, origin_headers
from tests.realtime.viewers import Socket, cast, cast_with_pass, count, db, make_poll, until
from tests.servers import PATIENCE

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def test_a_viewer_gets_a_snapshot_and_then_changes(watch: Any) -> None:
    poll = await db(make_poll)()
    socket = await watch(poll.code)
    first = await socket.tally()
    assert (first["ballots"], first["visible"], first["state"]) == (0, True, "open")
    await db(cast)(poll, [2])
    await db(count)()
    later = await socket.tally(lambda m: m["ballots"] == 1)
    assert [choice["votes"] for choice in later["choices"]] == [0, 1, 0]
    assert later["version"] > first["version"]


async def test_a_code_in_lower_case_works(watch: Any) -> None:
    poll = await db(make_poll)(code="SPRING")
    assert (await (await watch("spring")).tally())["poll"] == "SPRING"
    assert poll.code == "SPRING"


async def test_the_regular_check_replaces_a_lost_hint(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = await db(make_poll)()
    socket = await watch(poll.code)
    await socket.tally()
    monkeypatch.setattr("realtime.receivers.announce", lambda ids: None)
    await db(cast)(poll, [1])
    await db(count)()
    assert (await socket.tally(lambda m: m["ballots"] == 1))["ballots"] == 1


async def test_a_burst_of_changes_is_conflated(watch: Any) -> None:
    poll = await db(make_poll)()
    socket = await watch(poll.code)
    await socket.tally()

    def burst() -> None:
        for _ in range(40):
            cast(poll, [1])
            count()

    started = asyncio.get_running_loop().time()
    work = asyncio.ensure_future(db(burst)())
    frames, last = 0, 0
    while last < 40:
        message = await socket.tally()
        assert message["ballots"] > last, "a viewer's tally ran backwards or was sent twice"
        frames, last = frames + 1, message["ballots"]
    await work
    # At most one frame per tick since the start, and one at the start.
    assert frames <= (asyncio.get_running_loop().time() - started) / hub_module.TICK_SECONDS + 2


async def test_lifecycle_changes_are_sent(watch: Any) -> None:
    poll = await db(make_poll)()
    socket = await watch(poll.code)
    await socket.tally()
    await db(lifecycle.close_poll)(poll.pk)
    assert (await socket.message("state"))["state"] == "closing"
    await db(count)()
    over = await socket.tally(lambda m: m["state"] == "closed")
    assert over["winners"] == [] and over["closed_at"]
    await db(lifecycle.reset_poll)(poll.pk)
    again = await socket.tally(lambda m: m["state"] == "draft")
    assert (again["round"], again["epoch"], again["question"]) == (2, over["epoch"] + 1, "")


@pytest.mark.parametrize("results_visible", ["after_close", "staff", "after_vote"])
async def test_a_hidden_tally_sends_nothing_while_ballots_are_counted(
    watch: Any, results_visible: str
) -> None:
    poll = await db(make_poll)(results_visible=results_visible)
    socket = await watch(poll.code)
    first = await socket.tally()
    assert not first["visible"]
    assert not {"version", "ballots", "selections", "winners"} & set(first)
    assert all(set(choice) == {"number", "label"} for choice in first["choices"])
    for _ in range(3):
        await db(cast)(poll, [1])
        await db(count)()
    assert await socket.silent(1.2)


async def test_after_close_shows_the_tally_to_everybody_at_closing(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_close")
    socket = await watch(poll.code)
    await socket.tally()
    await db(cast)(poll, [3])
    await db(lifecycle.close_poll)(poll.pk)
    await db(count)()
    shown = await socket.tally(lambda m: m["visible"])
    assert (shown["state"], shown["ballots"], shown["winners"]) == ("closed", 1, [3])


async def test_after_vote_shows_voters_the_tally_until_the_next_round(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote")
    cookie = await db(cast)(poll, [1])
    await db(count)()
    voter = await watch(poll.code, cookie=f"voter={cookie}")
    assert (await voter.tally(lambda m: m["visible"]))["ballots"] == 1
    await db(lifecycle.reset_poll)(poll.pk)
    await db(lifecycle.open_poll)(poll.pk)
    assert not (await voter.tally(lambda m: m["state"] == "open" and m["round"] == 2))["visible"]


async def test_a_voter_is_identified_by_a_pass(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote", identity="login")
    voted = await db(cast_with_pass)(poll, [1], b"v" * 16)
    waiting = identity.make_pass("login", poll.pk, poll.voter_secret(), b"w" * 16)
    await db(count)()
    voter, other = [await watch(poll.code, cookie=f"pass={each}") for each in (voted, waiting)]
    assert (await voter.tally(lambda m: m["visible"]))["ballots"] == 1
    assert not (await other.tally())["visible"]


async def test_a_recheck_after_voting_shows_the_tally(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote")
    cookie = identity.new_cookie()
    socket = await watch(poll.code, cookie=f"voter={cookie}")
    assert not (await socket.tally())["visible"]
    await socket.raw.send_to('{"type":"recheck"}')
    assert not (await socket.tally())["visible"]
    await db(cast)(poll, [1], cookie)
    await socket.raw.send_to('{"type":"recheck"}')
    assert (await socket.tally(lambda m: m["visible"]))["visible"]


async def test_a_ping_is_answered_with_the_state(watch: Any) -> None:
    poll = await db(make_poll)()
    socket = await watch(poll.code)
    await socket.tally()
    await socket.raw.send_to('{"type":"ping"}')
    assert (await socket.message("state"))["poll"] == poll.code


async def test_staff_see_a_hidden_tally(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="staff")
    client = Client()

    def log_in(name: str, **rights: bool) -> str:
        client.force_login(get_user_model().objects.create_user(name, **rights))
        return f"sessionid={client.cookies['sessionid'].value}"

    staff = await watch(poll.code, cookie=await db(log_in)("anna", is_staff=True))
    assert (await staff.tally(lambda m: m["visible"]))["ballots"] == 0
    other = await watch(poll.code, cookie=await db(log_in)("bert"))
    assert not (await other.tally())["visible"]
    forged = await watch(poll.code, cookie="sessionid=whatever")
    assert not (await forged.tally())["visible"]


async def test_unknown_polls_and_foreign_origins_get_close_codes(watch: Any) -> None:
    poll = await db(make_poll)()
    closed = await (await watch("NOSUCH")).raw.receive_output(timeout=PATIENCE)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4404)
    for origin in ("https://evil.example", "null", "http://testserver.evil.example"):
        closed = await (await watch(poll.code, origin=origin)).raw.receive_output(timeout=PATIENCE)
        assert (closed["type"], closed["code"]) == ("websocket.close", 4403)
    assert (await (await watch(poll.code, origin="http://testserver")).tally())["poll"] == poll.code


@pytest.mark.parametrize(("scheme", "told", "origin", "ours"), ORIGIN_CASES)
async def test_origins_are_checked_as_for_casts(
    transactional_db: None, settings: Any, scheme: str, told: bytes | None, origin: bytes, ours: bool
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    socket = Socket("NOSUCH", [(b"host", b"testserver"), *origin_headers(told, origin)])
    socket.raw.scope["scheme"] = scheme.replace("http", "ws")
    await socket.raw.connect(timeout=PATIENCE)
    closed = await socket.raw.receive_output(timeout=PATIENCE)
    assert closed["code"] == (4404 if ours else 4403)
    await hub_module.get_hub().stop()


async def test_viewers_are_counted(watch: Any) -> None:
    poll = await db(make_poll)()
    first = await watch(poll.code)
    assert (await first.message("viewers"))["count"] == 1
    second = await watch(poll.code)
    assert (await second.message("viewers"))["count"] == 2
    while (await first.message("viewers"))["count"] != 2:
        pass
    await second.raw.disconnect(timeout=PATIENCE)
    while (await first.message("viewers"))["count"] != 1:
        pass


async def test_screens_of_the_organiser_are_not_counted(watch: Any) -> None:
    poll = await db(make_poll)()
    screen = await watch(poll.code, query="?audience=no")
    assert (await screen.message("viewers"))["count"] == 0
    phone = await watch(poll.code)
    assert (await phone.message("viewers"))["count"] == 1
    while (await screen.message("viewers"))["count"] != 1:
        pass
    await screen.raw.disconnect(timeout=PATIENCE)
    assert (await (await watch(poll.code)).message("viewers"))["count"] == 2


async def test_a_stalled_viewer_delays_nobody_and_is_aborted(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.channels.STALLED_SECONDS", 3600)
    poll = await db(make_poll)()
    healthy = await watch(poll.code)
    await healthy.tally()
    channel = await hub_module.get_hub().get_channel(poll.code)
    assert channel is not None

    async def zero_window(message: Message) -> None:
        await asyncio.Event().wait()

    subscriber = Subscriber(channel)
    connection = ASGIConnection(subscriber, zero_window)
    channel.subscribe(subscriber, connection)
    stalled = asyncio.ensure_future(connection.run(asyncio.Event().wait()))
    await db(cast)(poll, [1])
    await db(count)()
    assert (await healthy.tally(lambda m: m["ballots"] == 1))["ballots"] == 1
    channel.paused[subscriber] -= 3600
    assert await asyncio.wait_for(stalled, PATIENCE) is None
    assert subscriber not in channel.subscribers


async def test_a_slow_viewer_gets_only_the_newest_tally(watch: Any) -> None:
    poll = await db(make_poll)()
    await watch(poll.code)
    channel = await hub_module.get_hub().get_channel(poll.code)
    assert channel is not None
    got: list[Any] = []
    ready = asyncio.Event()

    async def send(message: Message) -> None:
        await ready.wait()
        got.append(json.loads(message.text))

    subscriber = Subscriber(channel)
    connection = ASGIConnection(subscriber, send)
    channel.subscribe(subscriber, connection)
    running = asyncio.ensure_future(connection.run(asyncio.Event().wait()))
    for ballots in (1, 2, 3):
        await db(cast)(poll, [1])
        await db(count)()
        figure = f'"ballots":{ballots}'.encode()
        await until(lambda figure=figure: figure in channel.frames.document)
    ready.set()
    await until(lambda: not connection.writing_paused)
    running.cancel()
    assert [message["ballots"] for message in got if message["type"] == "tally"] == [0, 3]


async def test_hints_arrive_through_the_channels_group(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's regular check is disabled, so the change can arrive only through the group."""
    monkeypatch.setattr(hub_module, "CHECK_SECONDS", 3600)
    monkeypatch.setattr("realtime.hint_receiver.READY_TIMEOUT_SECONDS", PATIENCE)
    poll = await db(make_poll)()
    socket = await watch(poll.code)
    await socket.tally()
    await db(publish.announce)({999_999})
    await db(cast)(poll, [1])
    await db(count)()
    assert (await socket.tally(lambda m: m["ballots"] == 1))["ballots"] == 1


async def test_a_foreign_host_is_refused(watch: Any) -> None:
    """After DNS rebinding, a foreign page has a matching origin, but its host isn't ours."""
    poll = await db(make_poll)()
    socket = await watch(poll.code, origin="http://evil.example", host="evil.example")
    closed = await socket.raw.receive_output(timeout=PATIENCE)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4403)


async def test_a_viewer_that_sends_too_many_messages_is_closed(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote")
    socket, other = await watch(poll.code), await watch(poll.code)
    for _ in range(60):
        await socket.raw.send_to('{"type":"recheck"}')
    while (event := await socket.raw.receive_output(timeout=PATIENCE))["type"] != "websocket.close":
        pass
    assert event["code"] == 1008
    await other.raw.send_to('{"type":"recheck"}')
    await other.tally()
    assert not (await other.tally())["visible"]
