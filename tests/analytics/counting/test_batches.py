"""Ballots are counted exactly once from the log into ledger and tally, even if they are in the log twice."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction

from analytics.counting import (
    batches,
    block_counting,
    checkpoints,
    ledger,
    tally_deltas,
    trimming,
)
from analytics.models import Checkpoint, Tally, TallyPoint
from analytics.results import tallies
from analytics.signals import tally_changed
from polls import lifecycle
from polls.models import Ballot, DeadLetter, Poll, State
from polls.votelog import get_log
from polls.votelog.entries import Block, Entry, Head, entries_of
from tests.factories import (
    alone,
    check_books,
    count,
    fill,
    open_poll,
    revote,
    tallied,
    version,
)
from tests.threads import Background, at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log"), pytest.mark.both_logs]


@pytest.fixture
def small_batches(settings: Any) -> None:
    settings.COUNT_BATCH = 7


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """twice() makes every ballot appear in the log twice, as after a failure between entry and claim."""

    def double() -> None:
        log = get_log()
        read = log.read

        def doubled(partition: int, after: int, limit: int) -> list[Block]:
            found: list[Entry] = []
            for entry in entries_of(read(partition, 0, 100_000)):
                copies = 2 if entry.kind == "ballot" else 1
                found += [entry] * copies
            renumbered = [replace(entry, position=position) for position, entry in enumerate(found, 1)]
            return [alone(entry) for entry in renumbered if entry.position > after][:limit]

        def heads() -> dict[int, Head]:
            known = checkpoints.expected_heads()
            return {n: Head(head.generation, len(doubled(n, 0, 1_000_000))) for n, head in known.items()}

        monkeypatch.setattr(log, "read", doubled)
        monkeypatch.setattr(log, "heads", heads)
        monkeypatch.setattr(log, "head", lambda partition: heads().get(partition))

    return double


def test_every_accepted_ballot_is_counted_once() -> None:
    poll, other = open_poll(), open_poll(method="multiple", max_selections=3)
    fill(poll, range(60))
    fill(other, range(20), 1, 3)
    assert count() == 80
    assert check_books(poll) == {(1, "ballots"): 60, (1, "1"): 30, (1, "2"): 30}
    assert check_books(other) == {(1, "ballots"): 20, (1, "1"): 20, (1, "3"): 20}
    assert count() == 0
    assert check_books(poll)[1, "ballots"] == 60


@pytest.mark.usefixtures("small_batches")
def test_a_partition_is_counted_in_batches_until_its_log_is_empty() -> None:
    poll = open_poll()
    for start in range(0, 60, 6):
        fill(poll, range(start, start + 6))
    changes: list[set[int]] = []

    def hear(poll_ids: set[int], **_: Any) -> None:
        changes.append(poll_ids)

    tally_changed.connect(hear)
    try:
        assert count() == 60
    finally:
        tally_changed.disconnect(hear)
    assert check_books(poll)[1, "ballots"] == 60
    # Batches end at the end of a block, and these blocks have up to six ballots.
    assert len(changes) >= 60 / (7 + 5)
    assert set().union(*changes) == {poll.pk}
    heads = get_log().heads()
    assert {row.partition: row.position for row in Checkpoint.objects.all()} == {
        partition: head.position for partition, head in heads.items()
    }


def test_a_batch_that_failed_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = open_poll(revote=True)
    ballots = fill(poll, range(30))
    count()
    fill(poll, range(30, 60))
    for ballot in ballots[:10]:
        revote(poll, ballot, 3)
    before = (check_books(poll), version(poll), list(Checkpoint.objects.values_list("position")))
    add = tally_deltas.add

    def fail(partition: int, delta: tally_deltas.Delta) -> None:
        add(partition, delta)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(tally_deltas, "add", fail)
        for partition in range(get_log().partitions):
            with pytest.raises(MemoryError):
                batches.count_partition(partition)
    assert before == (check_books(poll), version(poll), list(Checkpoint.objects.values_list("position")))
    count()
    assert check_books(poll) == {(1, "ballots"): 60, (1, "1"): 25, (1, "2"): 25, (1, "3"): 10}


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_entries_that_are_in_the_log_twice_count_once(
    twice: Callable[[], None], settings: Any, batch: int
) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    ballots = fill(poll, range(6), 1)
    revote(poll, revote(poll, ballots[0], 2), 3)
    revote(poll, ballots[1], 3)
    twice()
    count()
    assert check_books(poll) == {(1, "ballots"): 6, (1, "1"): 4, (1, "3"): 2}
    assert not DeadLetter.objects.exists()


def test_the_version_grows_with_each_change_and_the_epoch_with_a_reset() -> None:
    poll = open_poll()
    stamps = [tallies.snapshot(poll).stamp]
    for number in range(5):
        fill(poll, range(number, number + 1))
        count()
        stamps.append(tallies.snapshot(Poll.objects.get(pk=poll.pk)).stamp)
    count()
    assert tallies.snapshot(Poll.objects.get(pk=poll.pk)).stamp == stamps[-1]
    poll = lifecycle.reset_poll(poll.pk)
    stamps.append(tallies.snapshot(poll).stamp)
    poll = lifecycle.open_poll(poll.pk)
    fill(poll, range(3))
    count()
    stamps.append(tallies.snapshot(poll).stamp)
    assert stamps == sorted(set(stamps))
    assert (stamps[0][0], stamps[-1][0]) == (1, 2)
    assert tallies.stamps([poll.pk, 999_999]) == {poll.pk: stamps[-1]}


@pytest.mark.django_db(transaction=True)
class TestSeveralWorkers:
    def test_several_workers_count_every_ballot_once(self, settings: Any) -> None:
        settings.COUNT_BATCH = 20
        poll = open_poll(revote=True)
        ballots = fill(poll, range(150), 1)
        for ballot in ballots[:50]:
            revote(poll, ballot, 2)
        partitions = [*range(get_log().partitions)] * 3
        at_once(batches.count_partition, partitions, threads=3)
        assert count() == 0
        assert check_books(poll) == {(1, "ballots"): 150, (1, "1"): 100, (1, "2"): 50}

    def test_tally_and_ledger_agree_at_every_moment(self, settings: Any) -> None:
        settings.COUNT_BATCH = 5
        poll = open_poll(revote=True)

        def vote(part: int) -> None:
            for number in range(part * 100, part * 100 + 20):
                (ballot,) = fill(poll, range(number, number + 1), 1)
                revote(poll, ballot, 2) if number % 3 == 0 else None

        with Background(count), Background(count), Background(lambda: look(poll)):
            at_once(vote, range(3), threads=3)
        count()
        assert check_books(poll)[1, "ballots"] == 60

    @pytest.mark.full_only
    def test_a_worker_skips_a_partition_that_another_has_locked(self) -> None:
        poll = open_poll()
        fill(poll, range(40), 1)
        held, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                list(Checkpoint.objects.select_for_update().filter(partition=0))
                held.set()
                let_go.wait()

        holding = threading.Thread(target=lambda: at_once(lambda _: hold(), [0]))
        holding.start()
        held.wait()
        try:
            assert batches.count_partition(0) is None  # without waiting
        finally:
            let_go.set()
            holding.join()
        count()
        assert check_books(poll)[1, "ballots"] == 40

    @pytest.mark.full_only
    def test_a_worker_counts_the_ballots_that_others_skipped_for_its_lock(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After unlocking the partition, the worker reads the log once more."""
        poll = open_poll()
        fill(poll, range(20), 1)
        looks = itertools.count(1)
        is_due = trimming.is_due

        def pass_by(partition: int) -> int | None:
            fill(poll, range(20, 40), 1)
            return batches.count_partition(partition)

        def passed_by(checkpoint: Checkpoint) -> bool:
            # Here the log has been read to its end, but the partition is still locked.
            if next(looks) == 1:
                assert at_once(pass_by, [checkpoint.partition]) == [None]
            return is_due(checkpoint)

        monkeypatch.setattr(trimming, "is_due", passed_by)
        for partition in range(get_log().partitions):
            batches.count_partition(partition)
        assert checkpoints.backlog() == 0
        assert check_books(poll)[1, "ballots"] == 40

    def test_a_worker_that_lost_its_lock_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        poll = open_poll()
        fill(poll, range(40), 1)
        write = ledger.write

        def cut_off(*args: Any) -> Any:
            written = write(*args)
            connection.connection.close()  # as PostgreSQL does after a timeout
            return written

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "write", cut_off)
            with pytest.raises(Exception, match="closed"):
                batches.count_partition(0)
        connection.close()
        assert tallied(poll) == {}
        assert not Ballot.objects.exists()
        count()
        assert check_books(poll)[1, "ballots"] == 40


def look(poll: Poll) -> None:
    """Check that votes and ballots agree, in one statement."""
    rows = Tally.objects.filter(poll_id=poll.pk).values_list("key", "count")
    sums: dict[bool, int] = {True: 0, False: 0}
    for key, number in rows:
        sums[key == "ballots"] += number
    assert sums[True] == sums[False]


def test_a_failing_receiver_does_not_stop_the_counting(settings: Any) -> None:
    settings.COUNT_BATCH = 10

    def fail(**_: Any) -> None:
        raise RuntimeError("no channel layer")

    poll = open_poll()
    fill(poll, range(40))
    lifecycle.close_poll(poll.pk)
    tally_changed.connect(fail)
    try:
        count()
    finally:
        tally_changed.disconnect(fail)
    assert check_books(poll)[1, "ballots"] == 40
    assert Poll.objects.get().state == State.CLOSED


def test_the_history_has_the_second_of_acceptance() -> None:
    poll = open_poll(revote=True)
    entries = [
        Entry(n, "ballot", poll.pk, 1, second * 1000 + 999, bytes([n]) * 16, bytes([n]) * 16, "1")
        for n, second in [(1, 100), (2, 100), (3, 107)]
    ]
    block_counting.count_blocks(0, [alone(entry) for entry in entries])
    change = Entry(
        4, "ballot", poll.pk, 1, 110_000, entries[0].voter_key, b"x" * 16, "2", entries[0].ballot_id
    )
    block_counting.count_blocks(0, [alone(change)])
    points = TallyPoint.objects.filter(key__in=["1", "2"]).values_list("second", "key", "count")
    assert sorted(points) == [(100, "1", 2), (107, "1", 1), (110, "1", -1), (110, "2", 1)]
    assert check_books(poll) == {(1, "ballots"): 3, (1, "1"): 2, (1, "2"): 1}
