"""The cast queue: groups, limits, deadlines, and each cast gets its own outcome."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from polls.casting import backpressure, cast_queue
from polls.casting.cast_queue import CastQueue
from polls.errors import LandslideError, Overloaded, Unavailable
from polls.votelog.admission import NewBallot, Outcome


def ballot(number: int) -> NewBallot:
    return NewBallot(1, number.to_bytes(16, "big"), b"b" * 16, str(number))


class Store:
    """The append queue behind a cast queue: the test decides when a group is answered, and how."""

    def __init__(self) -> None:
        self.groups: list[tuple[list[int], Future[list[Outcome]]]] = []
        self.refuse: Exception | None = None

    def submit(self, ballots: Sequence[NewBallot]) -> Future[list[Outcome]]:
        if self.refuse:
            raise self.refuse
        future: Future[list[Outcome]] = Future()
        self.groups.append(([int(ballot.selection) for ballot in ballots], future))
        return future

    @property
    def sent(self) -> list[list[int]]:
        return [numbers for numbers, _ in self.groups]

    def begin(self, group: int) -> None:
        """Begin to write a group: it can't be cancelled any more."""
        assert self.groups[group][1].set_running_or_notify_cancel()

    def give_back(self, group: int, *codes: str) -> None:
        """Answer a group. The outcome of ballot n has round n, so that mix-ups show."""
        numbers, future = self.groups[group]
        outcomes = zip(codes or ["accepted"] * len(numbers), numbers, strict=True)
        future.set_result([Outcome(code, number) for code, number in outcomes])


@pytest.fixture
def store() -> Store:
    return Store()


class Clock:
    """The event loop's clock, which stands still: a busy machine must not look like a standing queue."""

    def __init__(self, now: float) -> None:
        self.now = now


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time())
    monkeypatch.setattr(loop, "time", lambda: clock.now)
    return clock


@pytest.fixture
async def box(store: Store, clock: Clock) -> CastQueue:
    return CastQueue(store.submit)


@pytest.fixture
def pass_deadline(settings: Any, clock: Clock) -> Callable[[], None]:
    """pass_deadline() moves the clock past the deadline of all casts so far."""
    settings.CAST_DEADLINE_SECONDS = 1000

    def pass_it() -> None:
        clock.now += 1001

    return pass_it


async def turn() -> None:
    """Let the loop run everything that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


def rounds(outcomes: Sequence[asyncio.Future[Outcome]]) -> list[int]:
    return [outcome.result().round for outcome in outcomes]


def codes(outcomes: Sequence[asyncio.Future[Outcome]]) -> list[str]:
    return [outcome.result().code for outcome in outcomes]


# --- groups ---


async def test_casts_in_the_same_turn_of_the_loop_form_a_group(box: CastQueue, store: Store) -> None:
    outcomes = [box.cast(ballot(number)) for number in (1, 2, 3)]
    assert store.sent == []
    await turn()
    assert store.sent == [[1, 2, 3]]
    store.give_back(0)
    await turn()
    assert rounds(outcomes) == [1, 2, 3]


async def test_casts_during_an_append_form_the_next_group(box: CastQueue, store: Store) -> None:
    first = box.cast(ballot(1))
    await turn()
    others = [box.cast(ballot(number)) for number in (2, 3)]
    await turn()
    others.append(box.cast(ballot(4)))
    await turn()
    assert store.sent == [[1]]
    store.give_back(0)
    await turn()
    assert store.sent == [[1], [2, 3, 4]]
    assert rounds([first]) == [1]
    assert not any(outcome.done() for outcome in others)
    store.give_back(1)
    await turn()
    assert rounds(others) == [2, 3, 4]


async def test_the_queue_starts_again_after_it_was_idle(box: CastQueue, store: Store) -> None:
    for number in (1, 2):
        outcome = box.cast(ballot(number))
        await turn()
        store.give_back(number - 1)
        await turn()
        assert rounds([outcome]) == [number]
    assert store.sent == [[1], [2]]


async def test_a_group_is_never_larger_than_an_append(
    box: CastQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast_queue, "MAX_APPEND_BALLOTS", 3)
    outcomes = [box.cast(ballot(number)) for number in range(1, 8)]
    for group in range(3):
        await turn()
        assert len(store.sent) == group + 1
        store.give_back(group)
    await turn()
    assert store.sent == [[1, 2, 3], [4, 5, 6], [7]]
    assert rounds(outcomes) == list(range(1, 8))


async def test_outcomes_may_come_from_another_thread(box: CastQueue, store: Store) -> None:
    outcome = box.cast(ballot(1))
    await turn()
    await asyncio.to_thread(store.give_back, 0)
    assert (await outcome).round == 1


# --- limits ---


async def test_the_queue_is_full_at_its_limit_and_reports_refusals(
    settings: Any, store: Store, clock: Clock
) -> None:
    settings.CAST_QUEUE_LIMIT = cast_queue.STANDING_QUEUE_LIMIT + 2
    box = CastQueue(store.submit)
    backpressure.record_refusal(-1)
    for number in range(settings.CAST_QUEUE_LIMIT):
        assert not box.full
        box.cast(ballot(number))
    assert not backpressure.is_refusing()
    assert box.full
    assert backpressure.is_refusing(), "realtime uses less CPU meanwhile"
    await turn()
    assert box.full  # casts in flight count too
    store.give_back(0)
    await turn()
    assert not box.full


async def test_a_burst_may_fill_the_queue_but_a_standing_queue_is_kept_short(
    box: CastQueue, store: Store, clock: Clock
) -> None:
    for number in range(cast_queue.STANDING_QUEUE_LIMIT):
        box.cast(ballot(number))
    await turn()
    assert not box.full
    clock.now += cast_queue.STANDING_QUEUE_SECONDS + 0.1
    assert box.full
    store.give_back(0)
    await turn()
    for number in range(cast_queue.STANDING_QUEUE_LIMIT - 1):
        box.cast(ballot(number))
    assert not box.full
    box.cast(ballot(99))
    assert box.full  # so soon after the last refusal it is still the same overload
    clock.now += cast_queue.STANDING_QUEUE_SECONDS + cast_queue.RECOVERY_SECONDS + 0.2
    await turn()
    store.give_back(1)
    await turn()
    for number in range(cast_queue.STANDING_QUEUE_LIMIT + 1):
        box.cast(ballot(number))
    assert not box.full  # a new burst


async def test_the_standing_limit_follows_the_lag_of_the_event_loop(box: CastQueue, clock: Clock) -> None:
    for number in range(cast_queue.STANDING_QUEUE_LIMIT):
        box.cast(ballot(number))
    await turn()
    clock.now += cast_queue.STANDING_QUEUE_SECONDS + 0.1
    assert box.full
    box._check_lag(box.loop.time() - 1)
    assert box._standing_limit < cast_queue.STANDING_QUEUE_LIMIT
    for _ in range(20):
        box._check_lag(box.loop.time() - 1)
    assert box._standing_limit == cast_queue.MIN_STANDING_LIMIT
    for _ in range(20):
        box._check_lag(box.loop.time())
    assert box._standing_limit == cast_queue.STANDING_QUEUE_LIMIT


async def test_a_cast_that_was_held_up_finds_the_queue_full(settings: Any, store: Store) -> None:
    """A cast may be delayed after the check, by loading rules. Then it must not exceed the limit."""
    settings.CAST_QUEUE_LIMIT = 2
    box = CastQueue(store.submit)
    waiting = [box.cast(ballot(1)), box.cast(ballot(2))]
    with pytest.raises(Overloaded):
        box.cast(ballot(3))
    await turn()
    assert store.sent == [[1, 2]]
    store.give_back(0)
    await turn()
    assert rounds(waiting) == [1, 2]


# --- errors ---


async def test_each_cast_gets_its_own_outcome(box: CastQueue, store: Store) -> None:
    together = [box.cast(ballot(1)), box.cast(ballot(2)), box.cast(ballot(3))]
    await turn()
    after = box.cast(ballot(4))
    store.give_back(0, "overloaded", "accepted", "outcome_unknown")
    await turn()
    assert codes(together) == ["overloaded", "accepted", "outcome_unknown"]
    store.give_back(1)
    await turn()
    assert rounds([after]) == [4]


@pytest.mark.parametrize("failure", [Overloaded(), Unavailable(), RuntimeError("can't start new thread")])
async def test_a_refused_group_fails_and_the_next_one_is_tried(
    box: CastQueue, store: Store, failure: Exception
) -> None:
    store.refuse = failure
    refused = [box.cast(ballot(1)), box.cast(ballot(2))]
    await turn()
    if isinstance(failure, LandslideError):
        assert codes(refused) == [failure.code] * 2
    else:
        assert [outcome.exception() for outcome in refused] == [failure] * 2
    store.refuse = None
    after = box.cast(ballot(3))
    await turn()
    assert store.sent == [[3]]
    store.give_back(0)
    await turn()
    assert rounds([after]) == [3]


async def test_cancelled_casts_are_not_answered_and_the_others_are(box: CastQueue, store: Store) -> None:
    gone, there = box.cast(ballot(1)), box.cast(ballot(2))
    await turn()
    gone_too, there_too = box.cast(ballot(3)), box.cast(ballot(4))
    gone.cancel()
    gone_too.cancel()
    store.give_back(0)
    await turn()
    store.give_back(1, "overloaded", "log_inconsistent")
    await turn()
    assert rounds([there]) == [2]
    assert codes([there_too]) == ["log_inconsistent"]


# --- deadlines ---


async def test_after_the_deadline_casts_in_flight_are_unknown_and_queued_ones_unwritten(
    box: CastQueue, store: Store, pass_deadline: Callable[[], None]
) -> None:
    under_way = box.cast(ballot(1))
    await turn()
    store.begin(0)
    queued = [box.cast(ballot(2)), box.cast(ballot(3))]
    pass_deadline()
    assert (await under_way).code == "outcome_unknown"
    assert codes(queued) == ["overloaded"] * 2
    store.give_back(0)
    await turn()
    assert store.sent == [[1]]


async def test_a_group_that_still_waits_at_the_deadline_is_cancelled(
    box: CastQueue, store: Store, pass_deadline: Callable[[], None]
) -> None:
    """The group is still in the append queue, behind batches of API clients."""
    outcome = box.cast(ballot(1))
    await turn()
    pass_deadline()
    assert (await outcome).code == "overloaded"
    assert store.groups[0][1].cancelled()
    await turn()
    after = box.cast(ballot(2))
    await turn()
    store.give_back(1)
    await turn()
    assert rounds([after]) == [2]


@pytest.mark.parametrize("size", [1, 2])
async def test_a_late_group_answers_for_no_other_group(
    box: CastQueue, store: Store, pass_deadline: Callable[[], None], size: int
) -> None:
    """Otherwise a ballot could get the outcome of another ballot."""
    late = box.cast(ballot(1))
    await turn()
    store.begin(0)
    pass_deadline()
    assert (await late).code == "outcome_unknown"
    after = [box.cast(ballot(2 + number)) for number in range(size)]
    await turn()
    store.give_back(0)
    await turn()
    assert store.sent[1] == [2, 3][:size]
    assert not any(outcome.done() for outcome in after)
    following = box.cast(ballot(4))
    await turn()
    assert len(store.sent) == 2  # no other group was started early
    store.give_back(1)
    await turn()
    assert rounds(after) == [2, 3][:size]
    store.give_back(2)
    await turn()
    assert rounds([following]) == [4]


async def test_the_deadline_includes_the_wait_for_the_previous_group(
    box: CastQueue, store: Store, clock: Clock, settings: Any
) -> None:
    """The deadline counts from the arrival of the cast."""
    settings.CAST_DEADLINE_SECONDS = 100
    box.cast(ballot(1))
    await turn()
    store.begin(0)
    waiting = box.cast(ballot(2))
    clock.now += 99
    store.give_back(0)
    await turn()
    store.begin(1)
    fresh = box.cast(ballot(3))
    await turn()
    assert not waiting.done()
    clock.now += 2
    await turn()
    assert codes([waiting, fresh]) == ["outcome_unknown", "overloaded"]


async def test_each_later_cast_has_its_own_deadline(
    box: CastQueue, store: Store, clock: Clock, settings: Any
) -> None:
    settings.CAST_DEADLINE_SECONDS = 100
    for group in range(4):
        outcome = box.cast(ballot(group))
        await turn()
        clock.now += 60
        await turn()
        store.give_back(group)
        await turn()
        assert rounds([outcome]) == [group]


# --- the end of the loop ---


@pytest.mark.parametrize("taken_back", [True, False])
def test_an_answer_after_the_end_of_the_loop_is_ignored(
    store: Store, caplog: pytest.LogCaptureFixture, taken_back: bool
) -> None:
    """An error would stop the append queue's thread, which must answer other casts too."""

    async def cast() -> None:
        CastQueue(store.submit).cast(ballot(1))
        await turn()

    asyncio.run(cast())
    if taken_back:
        assert store.groups[0][1].cancel()
    else:
        store.give_back(0)
    assert caplog.records == []
