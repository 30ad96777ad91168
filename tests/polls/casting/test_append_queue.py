"""The append queue runs one append at a time. Ballots that arrive meanwhile form the next one."""

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from polls.casting import append_queue, log_writer
from polls.casting.append_queue import AppendQueue, Entry, Settled, deliver
from polls.errors import LogInconsistent, Overloaded, Unavailable
from polls.votelog.admission import NewBallot, Outcome
from tests.polls.casting.appends import Clock, Store
from tests.servers import PATIENCE, wait_for


def ballots(*numbers: int) -> list[NewBallot]:
    return [NewBallot(1, number.to_bytes(16, "big"), b"b" * 16, str(number)) for number in numbers]


@pytest.fixture
def store() -> Any:
    store = Store()
    yield store
    store.free()


class Box(AppendQueue):
    def submit(self, ballots: Sequence[NewBallot], owner: Any = None) -> Future[list[Outcome]]:
        """Add an entry, and return the future of its outcomes."""
        outcomes: Future[list[Outcome]] = Future()
        self.add(Entry(ballots, outcomes.set_result, owner))
        return outcomes


@pytest.fixture
def box(store: Store) -> Box:
    return Box(store.append, store.appended, limit=10)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(append_queue, "time", clock)
    settings.CAST_DEADLINE_SECONDS = 10
    return clock


def rounds(future: Future[list[Outcome]]) -> list[int]:
    return [outcome.round for outcome in future.result(PATIENCE)]


def test_ballots_that_arrive_during_an_append_are_appended_together(box: Box, store: Store) -> None:
    first = box.submit(ballots(1))
    store.busy()
    others = [box.submit(ballots(2, 3)), box.submit(ballots(4)), box.submit(ballots(5, 6))]
    assert store.batches == [[1]]
    store.free()
    assert rounds(first) == [1]
    assert [rounds(future) for future in others] == [[2, 3], [4], [5, 6]]
    assert store.batches == [[1], [2, 3, 4, 5, 6]]


def test_an_idle_queue_appends_at_once(box: Box, store: Store) -> None:
    store.free()
    for number in (1, 3, 5):
        assert rounds(box.submit(ballots(number))) == [number]
    assert store.batches == [[1], [3], [5]]


def test_an_append_has_a_maximum_size(box: Box, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "MAX_APPEND_BALLOTS", 4)
    first = box.submit(ballots(1))
    store.busy()
    others = [box.submit(ballots(*group)) for group in [(2, 3), (4, 5), (6,), (7, 8, 9)]]
    store.free()
    assert rounds(first) == [1]
    assert [rounds(future) for future in others] == [[2, 3], [4, 5], [6], [7, 8, 9]]
    assert store.batches == [[1], [2, 3, 4, 5], [6, 7, 8, 9]]


def test_a_full_queue_refuses_before_anything_is_written(box: Box, store: Store) -> None:
    first = box.submit(ballots(1))
    store.busy()
    waiting = [box.submit(ballots(*range(10, 19))), box.submit(ballots(20))]
    with pytest.raises(Overloaded):
        box.submit(ballots(30))
    store.free()
    assert rounds(first) == [1]
    assert [len(rounds(future)) for future in waiting] == [9, 1]
    assert rounds(box.submit(ballots(30))) == [30]
    assert store.batches == [[1], [*range(10, 19), 20], [30]]


@pytest.mark.parametrize(
    ("failure", "seen"), [(OSError("gone"), "outcome_unknown"), (LogInconsistent(), "log_inconsistent")]
)
def test_a_failure_affects_its_own_append_only(box: Box, store: Store, failure: Exception, seen: str) -> None:
    first = box.submit(ballots(1))
    store.busy()
    together = [box.submit(ballots(3)), box.submit(ballots(5))]
    store.may_finish.release()
    assert rounds(first) == [1]
    store.busy(2)
    last = box.submit(ballots(7))
    store.failures = [failure]
    store.free()
    for future in together:
        assert future.result(PATIENCE) == [Outcome(seen)]
    assert rounds(last) == [7]
    wait_for(lambda: len(store.announced) == 2)
    assert store.announced == [[1], [7]]


def test_only_accepted_ballots_are_reported(box: Box, store: Store) -> None:
    store.free()
    assert rounds(box.submit(ballots(1, 2, 3))) == [1, 2, 3]
    assert rounds(box.submit(ballots(2))) == [2]
    assert rounds(box.submit(ballots(5))) == [5]
    wait_for(lambda: len(store.announced) == 2)
    assert store.announced == [[1, 3], [5]]


def test_a_report_that_fails_affects_no_ballot(
    box: Box, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(accepted: Sequence[NewBallot]) -> None:
        store.appended(accepted)
        raise OSError("no broker")

    monkeypatch.setattr(box, "_on_accepted", fail)
    store.free()
    for number in (1, 3, 2):
        assert rounds(box.submit(ballots(number))) == [number]
    assert store.announced == [[1], [3]]


# --- deadlines ---


def test_at_the_deadline_casts_in_flight_are_unknown_and_waiting_ones_unwritten(
    box: Box, store: Store, clock: Clock
) -> None:
    first = box.submit(ballots(1))
    store.busy()
    waiting = [box.submit(ballots(3)), box.submit(ballots(5, 7))]
    clock.now += 4
    assert box.expire() == 6
    assert not first.done()
    clock.now += 6
    assert box.expire() is None
    assert first.result(0) == [Outcome("outcome_unknown")]
    assert [outcome for future in waiting for outcome in future.result(0)] == [Outcome("overloaded")] * 3
    store.free()
    wait_for(lambda: store.announced == [[1]], what="the late append to end")
    assert rounds(box.submit(ballots(9))) == [9]
    assert store.batches == [[1], [9]]


def test_an_append_that_ends_late_answers_for_no_other_cast(box: Box, store: Store, clock: Clock) -> None:
    """Otherwise a ballot could get the outcome of another ballot."""
    late = box.submit(ballots(1))
    store.busy()
    clock.now += 10
    box.expire()
    clock.now -= 10  # so that the append doesn't count as stuck
    after = box.submit(ballots(3))
    store.may_finish.release()
    store.busy(2)
    assert late.result(0) == [Outcome("outcome_unknown")]
    assert not after.done()
    store.free()
    assert rounds(after) == [3]


def test_the_deadline_counts_from_the_arrival_of_the_oldest_cast(
    box: Box, store: Store, clock: Clock
) -> None:
    box.submit(ballots(1))
    store.busy()
    waiting = box.submit(ballots(3))
    clock.now += 2
    fresh = box.submit(ballots(5))
    store.may_finish.release()
    store.busy(2)
    assert box.expire() == 8
    clock.now += 8
    box.expire()
    assert [future.result(0) for future in (waiting, fresh)] == [[Outcome("outcome_unknown")]] * 2


def test_an_empty_queue_has_no_deadline(box: Box, store: Store) -> None:
    assert box.expire() is None
    store.free()
    assert rounds(box.submit(ballots(1))) == [1]
    assert box.expire() is None


@pytest.mark.parametrize("under_way", [True, False])
def test_a_waiting_thread_is_told_whether_its_ballot_may_have_been_written(
    box: Box, store: Store, settings: Any, monkeypatch: pytest.MonkeyPatch, under_way: bool
) -> None:
    monkeypatch.setattr(log_writer, "process_queue", lambda: box)
    monkeypatch.setattr(append_queue, "APPEND_STUCK_SECONDS", 3600.0)
    settings.CAST_DEADLINE_SECONDS = 0.05
    if not under_way:
        box.submit(ballots(1))
        store.busy()
    outcomes = box.submit(ballots(3))
    if under_way:
        store.busy()
    assert log_writer._wait_for(outcomes) == [Outcome("outcome_unknown" if under_way else "overloaded")]
    monkeypatch.undo()
    store.free()
    assert rounds(box.submit(ballots(5))) == [5]
    assert ([3] in store.batches) == under_way


# --- event loops ---


class Owner:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.delivered: list[int] = []
        self.done = asyncio.Event()

    def deliver(self, settled: Settled) -> None:
        assert asyncio.get_running_loop() is self.loop
        deliver(settled)
        self.delivered.append(len(settled))
        self.done.set()


async def test_an_event_loop_wakes_the_queue_and_gets_one_call_for_an_append(box: Box, store: Store) -> None:
    owner = Owner()
    futures = [box.submit(ballots(number), owner) for number in (1, 3, 5)]
    assert store.batches == []
    box.wake()
    await asyncio.to_thread(store.busy)
    futures += [box.submit(ballots(number), owner) for number in (7, 9)]
    store.may_finish.release()
    await owner.done.wait()
    assert [rounds(future) for future in futures[:3]] == [[1], [3], [5]]
    owner.done.clear()
    store.free()
    await owner.done.wait()
    assert owner.delivered == [3, 2]
    assert [rounds(future) for future in futures] == [[1], [3], [5], [7], [9]]


async def test_an_entry_that_fails_to_answer_does_not_affect_the_others(box: Box, store: Store) -> None:
    def fail(_: Any) -> None:
        raise ConnectionError("The client is gone.")

    owner = Owner()
    box.add(Entry(ballots(1), fail, owner))
    other = box.submit(ballots(3), owner)
    store.free()
    box.wake()
    await owner.done.wait()
    assert rounds(other) == [3]


@pytest.mark.parametrize("expired", [True, False])
def test_an_answer_after_the_end_of_the_loop_is_ignored(
    box: Box, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture, expired: bool
) -> None:
    """An error would end the queue's thread, which must answer other casts too."""

    async def cast() -> None:
        box.submit(ballots(1), Owner())
        box.wake()
        await asyncio.to_thread(store.busy)

    asyncio.run(cast())
    if expired:
        clock.now += 10
        assert box.expire() is None
        clock.now -= 10
    store.free()
    assert rounds(box.submit(ballots(3))) == [3]
    assert caplog.records == []


# --- processes ---


def test_a_forked_process_has_a_queue_of_its_own() -> None:
    """A thread doesn't survive a fork, and another thread may hold the lock."""
    before = log_writer.process_queue()
    with log_writer._queue_lock:
        child = os.fork()
        if not child:
            os._exit(log_writer.process_queue() is before)
    assert os.waitpid(child, 0)[1] == 0
    assert log_writer.process_queue() is before


# --- many casts, and a store that doesn't answer ---


def test_concurrent_casts_each_get_their_own_outcome(store: Store) -> None:
    store.free()
    box = Box(store.append, store.appended, limit=1000)
    seen: list[tuple[int, list[int]]] = []

    def cast(number: int) -> None:
        seen.append((number, rounds(box.submit(ballots(number)))))

    threads = [threading.Thread(target=cast, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [(number, [number]) for number in range(100)]
    assert sorted(number for batch in store.batches for number in batch) == list(range(100))


def test_while_an_append_is_stuck_casts_are_refused(
    box: Box, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = box.submit(ballots(1))
    store.busy()
    monkeypatch.setattr(append_queue, "APPEND_STUCK_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        box.submit(ballots(2))
    store.free()
    assert rounds(first) == [1]
    assert rounds(box.submit(ballots(3))) == [3]


def test_after_a_failure_one_append_at_a_time_probes_the_store(box: Box, store: Store) -> None:
    store.failures.append(ConnectionError())
    failed = box.submit(ballots(1))
    store.busy()
    store.may_finish.release()
    assert failed.result(PATIENCE) == [Outcome("outcome_unknown")]
    trying = box.submit(ballots(2))
    store.busy(2)
    with pytest.raises(Unavailable):
        box.submit(ballots(3))
    store.may_finish.release()
    assert rounds(trying) == [2]
    among_others = box.submit(ballots(4))
    store.busy(3)
    assert box.submit(ballots(5)) is not among_others
