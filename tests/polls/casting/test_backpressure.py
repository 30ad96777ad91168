"""Backpressure: a burst of casts may wait, but a standing queue is kept short."""

from types import SimpleNamespace
from typing import Any

import pytest

from polls.casting import backpressure
from polls.casting.backpressure import MIN_STANDING_LIMIT, STANDING_QUEUE_LIMIT, Backpressure


class Loop(SimpleNamespace):
    """An event loop whose clock stands still. It never runs the calls that are due later."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def call_later(self, _seconds: float, call: Any, *_args: Any) -> None:
        self.checks.append(call)


@pytest.fixture
def loop() -> Loop:
    return Loop(checks=[])


@pytest.fixture
def pressure(loop: Any) -> Backpressure:
    return Backpressure(loop)


def enter(pressure: Backpressure, casts: int) -> None:
    for _ in range(casts):
        pressure.enter()


def test_a_queue_is_full_at_its_limit_and_refusals_are_reported(settings: Any, loop: Any) -> None:
    settings.CAST_QUEUE_LIMIT = STANDING_QUEUE_LIMIT + 2
    pressure = Backpressure(loop)
    backpressure.record_refusal(-1)
    enter(pressure, STANDING_QUEUE_LIMIT + 1)
    assert not pressure.full
    pressure.enter()
    assert not backpressure.is_refusing()
    assert pressure.full
    assert backpressure.is_refusing(), "realtime uses less CPU meanwhile"
    pressure.leave(1)
    assert not pressure.full


def test_a_burst_may_fill_the_queue_but_a_standing_queue_is_kept_short(
    pressure: Backpressure, loop: Loop
) -> None:
    enter(pressure, STANDING_QUEUE_LIMIT)
    assert not pressure.full
    loop.now += backpressure.STANDING_QUEUE_SECONDS + 0.1
    assert pressure.full
    pressure.leave(STANDING_QUEUE_LIMIT)
    enter(pressure, STANDING_QUEUE_LIMIT - 1)
    assert not pressure.full
    pressure.enter()
    assert pressure.full  # so soon after the last refusal it is still the same overload
    pressure.leave(STANDING_QUEUE_LIMIT)
    loop.now += backpressure.RECOVERY_SECONDS + 0.1
    enter(pressure, STANDING_QUEUE_LIMIT + 1)
    assert not pressure.full  # a new burst
    assert len(loop.checks) == 1


def test_a_queue_that_is_emptied_at_times_does_not_stand(pressure: Backpressure, loop: Loop) -> None:
    for _ in range(20):
        enter(pressure, STANDING_QUEUE_LIMIT)
        loop.now += backpressure.STANDING_QUEUE_SECONDS * 0.9
        assert not pressure.full
        pressure.leave(STANDING_QUEUE_LIMIT)


def test_the_standing_limit_follows_the_lag_of_the_event_loop(pressure: Backpressure, loop: Loop) -> None:
    enter(pressure, STANDING_QUEUE_LIMIT)
    loop.now += backpressure.STANDING_QUEUE_SECONDS + 0.1
    assert pressure.full
    (check,) = loop.checks
    check(loop.now - 1)
    assert pressure._standing_limit < STANDING_QUEUE_LIMIT
    for _ in range(20):
        check(loop.now - 1)
    assert pressure._standing_limit == MIN_STANDING_LIMIT
    for _ in range(20):
        check(loop.now)
    assert pressure._standing_limit == STANDING_QUEUE_LIMIT
    check(loop.now - 1)
    count = len(loop.checks)
    loop.now += backpressure.RECOVERY_SECONDS + 0.1
    check(loop.now - 1)
    assert pressure._standing_limit == STANDING_QUEUE_LIMIT
    assert len(loop.checks) == count, "no more checks once the overload has ended"


def test_an_overload_that_begins_while_a_check_is_due_has_no_second_series_of_checks(
    pressure: Backpressure, loop: Loop
) -> None:
    enter(pressure, STANDING_QUEUE_LIMIT)
    loop.now += backpressure.STANDING_QUEUE_SECONDS + 0.1
    assert pressure.full
    loop.now += backpressure.RECOVERY_SECONDS + 0.1  # the event loop stood still, so the check hasn't run
    assert pressure.full
    assert len(loop.checks) == 1
    loop.now += backpressure.RECOVERY_SECONDS + 0.1
    loop.checks.pop()(loop.now)  # the end of the overload
    assert not loop.checks
    assert pressure.full
    assert len(loop.checks) == 1
