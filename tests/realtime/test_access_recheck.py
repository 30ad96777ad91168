"""Access that is lost or gained while a viewer watches takes effect on the open connection."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.plugins.otp_totp.models import TOTPDevice

from polls import drafts, lifecycle, two_factor
from polls.models import Poll
from tests.realtime.viewers import cast, count, db, make_poll

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.access_recheck.RECHECK_SECONDS", 0.2)


def log_in(name: str = "anna", two_factor: bool = False) -> tuple[Client, str]:
    client = Client()
    user = get_user_model().objects.create_user(name, is_staff=True)
    client.force_login(user)
    if two_factor:
        session = client.session
        session[DEVICE_ID_SESSION_KEY] = TOTPDevice.objects.create(user=user).persistent_id
        session.save()
    return client, f"sessionid={client.cookies['sessionid'].value}"


def show_to(poll: Poll, whom: str) -> None:
    drafts.change_poll(poll.pk, results_visible=whom)


async def watched_by_staff(watch: Any, **how: Any) -> tuple[Poll, Client, Any]:
    poll = await db(make_poll)(results_visible="staff")
    client, cookie = await db(log_in)(**how)
    socket = await watch(poll.code, cookie=cookie)
    assert (await socket.tally(lambda m: m["visible"]))["ballots"] == 0
    return poll, client, socket


async def loses_sight(poll: Poll, socket: Any) -> None:
    assert not {"ballots", "version"} & set(await socket.tally(lambda m: not m["visible"]))
    await db(cast)(poll, [1])
    await db(count)()
    assert await socket.silent(1.2)


async def test_staff_who_log_out_lose_the_tally(watch: Any) -> None:
    poll, client, socket = await watched_by_staff(watch)
    await db(client.post)("/admin/logout/")
    await loses_sight(poll, socket)


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}, {"password": "another"}])
async def test_staff_whose_account_changes_lose_the_tally(watch: Any, change: dict[str, Any]) -> None:
    poll, _, socket = await watched_by_staff(watch)
    await db(get_user_model().objects.update)(**change)
    await loses_sight(poll, socket)


async def test_staff_who_lose_the_second_factor_lose_the_tally(watch: Any, settings: Any) -> None:
    settings.ADMIN_TWO_FACTOR = "required"
    poll, _, socket = await watched_by_staff(watch, two_factor=True)
    await db(two_factor.remove)(await db(get_user_model().objects.get)())
    await loses_sight(poll, socket)


async def test_a_password_alone_shows_nothing_if_two_factor_is_required(watch: Any, settings: Any) -> None:
    settings.ADMIN_TWO_FACTOR = "required"
    poll = await db(make_poll)(results_visible="staff")
    _, cookie = await db(log_in)()
    socket = await watch(poll.code, cookie=cookie)
    assert not (await socket.tally())["visible"]
    assert await socket.silent(1.2)


async def test_staff_keep_the_tally_across_rechecks(watch: Any) -> None:
    poll, _, socket = await watched_by_staff(watch)
    assert await socket.silent(1.2)
    await db(cast)(poll, [1])
    await db(count)()
    assert (await socket.tally())["ballots"] == 1


async def test_a_voter_loses_the_tally_when_it_is_hidden_from_voters(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote")
    cookie = await db(cast)(poll, [1])
    await db(count)()
    socket = await watch(poll.code, cookie=f"voter={cookie}")
    await socket.tally(lambda m: m["visible"])
    await db(show_to)(poll, "after_close")
    await loses_sight(poll, socket)


async def test_voters_and_staff_keep_a_public_tally_that_is_hidden(watch: Any) -> None:
    poll = await db(make_poll)()
    voter = await db(cast)(poll, [1])
    await db(count)()
    _, session = await db(log_in)()
    screens = {name: await watch(poll.code, cookie=cookie) for name, cookie in
               (("voter", f"voter={voter}"), ("staff", session), ("passer-by", "voter=forged"))}  # fmt: skip
    for screen in screens.values():
        await screen.tally(lambda m: m["visible"])
    await db(show_to)(poll, "after_vote")
    for name in ("voter", "staff"):
        await screens[name].tally(lambda m: m["visible"] and m["results_visible"] == "after_vote")
    await screens["passer-by"].tally(lambda m: not m["visible"])
    assert await screens["passer-by"].silent(1.0)


async def test_a_voter_loses_the_tally_at_a_reset(watch: Any) -> None:
    poll = await db(make_poll)(results_visible="after_vote")
    cookie = await db(cast)(poll, [1])
    socket = await watch(poll.code, cookie=f"voter={cookie}")
    await socket.tally(lambda m: m["visible"])
    await db(lifecycle.reset_poll)(poll.pk)
    await db(lifecycle.open_poll)(poll.pk)
    await socket.tally(lambda m: m["round"] == 2 and m["state"] == "open" and not m["visible"])
    assert await socket.silent(1.2)
