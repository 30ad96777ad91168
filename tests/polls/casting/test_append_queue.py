"""The append queue runs one append at a time. Ballots that arrive meanwhile form the next one."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from polls.casting import append_queue, log_writer
from polls.casting.append_queue import AppendQueue
from polls.errors import LogInconsistent, OutcomeUnknown, Overloaded, Unavailable
from polls.votelog.admission import NewBallot, Outcome
from tests.servers import PATIENCE, wait_for


def ballots(*numbers: int) -> list[NewBallot]:
    return [NewBallot(1, number.to_bytes(16, "big"), b"b" * 16, str(number)) for number in numbers]


def numbers(batch: Sequence[NewBallot]) -> list[int]:
    return [int(ballot.selection) for ballot in batch]


class Store:
    """A store whose appends end when the test says. Ballot n gets round n, so that mix-ups show."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.announced: list[list[int]] = []
        self.failures: list[Exception] = []
        self.may_finish = threading.Semaphore(0)
        self.freed = False

    def append(self, batch: Sequence[NewBallot]) -> list[Outcome]:
        self.batches.append(numbers(batch))
        if not self.freed:
            self.may_finish.acquire()
        if self.failures:
            raise self.failures.pop(0)
        return [Outcome("accepted" if n % 2 else "already_voted", n) for n in numbers(batch)]

    def appended(self, accepted: Sequence[NewBallot]) -> None:
        self.announced.append(numbers(accepted))

    def free(self) -> None:
        self.freed = True
        self.may_finish.release(1000)

    def busy(self, batches: int = 1) -> None:
        wait_for(lambda: len(self.batches) == batches, what="an append to begin")


@pytest.fixture
def store() -> Any:
    store = Store()
    yield store
    store.free()


@pytest.fixture
def box(store: Store) -> AppendQueue:
    return AppendQueue(store.append, store.appended, limit=10)


def rounds(future: Future[list[Outcome]]) -> list[int]:
    return [outcome.round for outcome in future.result(PATIENCE)]


def test_ballots_that_arrive_during_an_append_are_appended_together(box: AppendQueue, store: Store) -> None:
    first = box.submit(ballots(1))
    store.busy()
    others = [box.submit(ballots(2, 3)), box.submit(ballots(4)), box.submit(ballots(5, 6))]
    assert store.batches == [[1]]
    store.free()
    assert rounds(first) == [1]
    assert [rounds(future) for future in others] == [[2, 3], [4], [5, 6]]
    assert store.batches == [[1], [2, 3, 4, 5, 6]]


def test_an_idle_queue_appends_at_once(box: AppendQueue, store: Store) -> None:
    store.free()
    for number in (1, 3, 5):
        assert rounds(box.submit(ballots(number))) == [number]
    assert store.batches == [[1], [3], [5]]


def test_an_append_has_a_maximum_size(
    box: AppendQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "MAX_APPEND_BALLOTS", 4)
    first = box.submit(ballots(1))
    store.busy()
    others = [box.submit(ballots(*group)) for group in [(2, 3), (4, 5), (6,), (7, 8, 9)]]
    store.free()
    assert rounds(first) == [1]
    assert [rounds(future) for future in others] == [[2, 3], [4, 5], [6], [7, 8, 9]]
    assert store.batches == [[1], [2, 3, 4, 5], [6, 7, 8, 9]]


def test_a_full_queue_refuses_before_anything_is_written(box: AppendQueue, store: Store) -> None:
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
def test_a_failure_affects_its_own_append_only(
    box: AppendQueue, store: Store, failure: Exception, seen: str
) -> None:
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


def test_only_accepted_ballots_are_reported(box: AppendQueue, store: Store) -> None:
    store.free()
    assert rounds(box.submit(ballots(1, 2, 3))) == [1, 2, 3]
    assert rounds(box.submit(ballots(2))) == [2]
    assert rounds(box.submit(ballots(5))) == [5]
    wait_for(lambda: len(store.announced) == 2)
    assert store.announced == [[1, 3], [5]]


def test_a_report_that_fails_affects_no_ballot(
    box: AppendQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(accepted: Sequence[NewBallot]) -> None:
        store.appended(accepted)
        raise OSError("no broker")

    monkeypatch.setattr(box, "_on_accepted", fail)
    store.free()
    for number in (1, 3, 2):
        assert rounds(box.submit(ballots(number))) == [number]
    assert store.announced == [[1], [3]]


def test_a_ballot_cancelled_in_the_queue_is_never_written(box: AppendQueue, store: Store) -> None:
    first = box.submit(ballots(1))
    store.busy()
    assert not first.cancel()  # being written
    given_up, kept = box.submit(ballots(3)), box.submit(ballots(5))
    assert given_up.cancel()
    store.free()
    assert rounds(first) == [1]
    assert rounds(kept) == [5]
    assert store.batches == [[1], [5]]


def test_the_queue_continues_after_all_waiting_ballots_were_cancelled(box: AppendQueue, store: Store) -> None:
    box.submit(ballots(1))
    store.busy()
    assert box.submit(ballots(3)).cancel()
    store.free()
    assert rounds(box.submit(ballots(5))) == [5]
    assert store.batches == [[1], [5]]


@pytest.mark.parametrize("under_way", [True, False])
def test_a_timeout_says_whether_the_ballot_may_have_been_written(
    box: AppendQueue, store: Store, settings: Any, under_way: bool
) -> None:
    settings.CAST_DEADLINE_SECONDS = 0.05
    if not under_way:
        box.submit(ballots(1))
        store.busy()
    future = box.submit(ballots(3))
    if under_way:
        store.busy()
    with pytest.raises(OutcomeUnknown if under_way else Overloaded):
        log_writer._wait_for(future)
    store.free()
    assert rounds(box.submit(ballots(5))) == [5]
    assert ([3] in store.batches) == under_way


def test_concurrent_casts_each_get_their_own_outcome(store: Store) -> None:
    store.free()
    box = AppendQueue(store.append, store.appended, limit=1000)
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
    box: AppendQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = box.submit(ballots(1))
    store.busy()
    monkeypatch.setattr(append_queue, "APPEND_STUCK_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        box.submit(ballots(2))
    store.free()
    assert rounds(first) == [1]
    assert rounds(box.submit(ballots(3))) == [3]


def test_after_a_failure_one_append_at_a_time_probes_the_store(box: AppendQueue, store: Store) -> None:
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
