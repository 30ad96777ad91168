"""When a process counts as crowded, and what then makes room for ballots."""

import time
from collections.abc import Iterable
from typing import Any

import pytest

from polls.casting import backpressure
from realtime import overload
from realtime.channels import HEARTBEAT_SECONDS, Room
from realtime.overload import BEGINS_AFTER, ENDS_AFTER, LOOK_SECONDS, Strain


def looks(judge: Strain, shorts: Iterable[bool], start: float) -> list[bool]:
    """What it says after each look, a quarter of a second apart."""
    found = []
    for number, short in enumerate(shorts):
        judge.look(short=short, now=start + number * LOOK_SECONDS)
        found.append(judge.crowded)
    return found


ENOUGH = int(BEGINS_AFTER / LOOK_SECONDS) + 2
LONG = int(ENDS_AFTER / LOOK_SECONDS) + 2


def test_one_late_look_is_no_crowd() -> None:
    assert not any(looks(Strain(), [False] * 8 + [True] + [False] * 8, 100.0))


def test_short_at_every_look_for_a_while_is_one() -> None:
    said = looks(Strain(), [False] + [True] * ENOUGH, 100.0)
    assert not said[ENOUGH // 2]
    assert said[-1]


def test_a_moment_of_rest_begins_the_wait_anew() -> None:
    almost = [True] * (ENOUGH - 3) + [False]
    assert not any(looks(Strain(), [False] + almost * 5, 100.0))


def test_it_ends_after_a_good_while_without_and_not_before() -> None:
    judge = Strain()
    looks(judge, [False] + [True] * ENOUGH, 100.0)
    said = looks(judge, [False] * LONG, 100.0 + (ENOUGH + 1) * LOOK_SECONDS)
    assert said[LONG // 2]
    assert not said[-1]


def test_it_does_not_flap_while_it_comes_and_goes() -> None:
    judge = Strain()
    looks(judge, [False] + [True] * ENOUGH, 100.0)
    assert all(looks(judge, [False, False, False, True] * LONG, 100.0 + (ENOUGH + 1) * LOOK_SECONDS))


def test_a_change_is_said_once() -> None:
    judge = Strain()
    changes = [judge.look(short=n > 0, now=100.0 + n * LOOK_SECONDS) for n in range(3 * ENOUGH)]
    assert changes.count(True) == 1


def test_turning_people_away_holds_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    backpressure.turned_away(1.0)
    assert backpressure.turning_away()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    assert not backpressure.turning_away()


def test_viewers_counts_wait_for_the_heartbeat_in_a_crowd() -> None:
    room = Room(1, "CODE", lambda seat: None)
    room.tell_viewers(100.0)
    first: Any = room.viewers
    room.presence.heard("another", 7, 100.0)
    room.tell_viewers(101.0, on_change=False)
    assert room.viewers is first
    room.tell_viewers(101.0)
    assert room.viewers is not first
    last: Any = room.viewers
    room.tell_viewers(101.0 + HEARTBEAT_SECONDS, on_change=False)
    assert room.viewers is not last


@pytest.mark.asyncio
async def test_a_crowded_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """By real looks: while ballots are turned away it becomes crowded, and publishes that."""
    published: list[str] = []

    async def in_thread(function: Any, mode: str) -> None:
        published.append(mode)
        raise Done

    class Done(Exception):
        pass

    monkeypatch.setattr(overload, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(overload, "BEGINS_AFTER", 0.02)
    backpressure.turned_away(60)
    judge = Strain()
    try:
        with pytest.raises(Done):
            await overload.keep_looking(judge, in_thread)
    finally:
        backpressure.turned_away(0)
    assert judge.crowded
    assert published == ["crowded"]
