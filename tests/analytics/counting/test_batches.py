"""From the log into ledger and tally: exactly once, whatever comes twice, late or wrong."""

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from analytics import tasks
from analytics.counting import (
    batches,
    block_counting,
    checkpoints,
    dead_letters,
    ledger,
    tally_deltas,
    trimming,
)
from analytics.models import Checkpoint, Tally, TallyPoint
from analytics.quarantine import decisions
from analytics.results import tallies
from analytics.signals import tally_changed
from polls import lifecycle, votelog
from polls.errors import IllegalState, LogInconsistent, Unavailable
from polls.models import Ballot, DeadLetter, Poll, Round, State
from polls.text.timestamps import LATEST, to_milliseconds
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from polls.votelog.entries import Block, Entry, Head, entries_of
from tests.factories import (
    alone,
    append,
    check_books,
    count,
    fill,
    make_poll,
    new_ballot,
    open_poll,
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
    """From now on the log holds every ballot twice, as a failure between entry and claim can leave it."""

    def double() -> None:
        log = get_log()
        read = log.read

        def doubled(partition: int, after: int, limit: int) -> list[Block]:
            found: list[Entry] = []
            for entry in entries_of(read(partition, 0, 100_000)):
                copies = 2 if entry.kind == "ballot" else 1
                found += [entry] * copies
            renumbered = [_at(entry, position) for position, entry in enumerate(found, 1)]
            return [alone(entry) for entry in renumbered if entry.position > after][:limit]

        def heads() -> dict[int, Head]:
            known = checkpoints.expected_heads()
            return {n: Head(head.generation, len(doubled(n, 0, 1_000_000))) for n, head in known.items()}

        monkeypatch.setattr(log, "read", doubled)
        monkeypatch.setattr(log, "heads", heads)
        monkeypatch.setattr(log, "head", lambda partition: heads().get(partition))

    return double


def _at(entry: Entry, position: int) -> Entry:
    fields = {name: getattr(entry, name) for name in Entry.__slots__}
    return Entry(**fields | {"position": position})


def revote(poll: Poll, before: NewBallot, *selection: int) -> NewBallot:
    voter = int.from_bytes(before.voter_key, "big")
    ballot = new_ballot(poll, voter, *selection, replaces=before.ballot_id)
    (outcome,) = append(ballot)
    assert outcome.code == "accepted"
    return ballot


# --- exactly once ---


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
def test_it_counts_in_batches_until_the_log_is_empty() -> None:
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
    # A log may add to a batch what came together with its last ballot, which is six at most.
    assert len(changes) >= 60 / (7 + 5)
    assert set().union(*changes) == {poll.pk}
    heads = get_log().heads()
    assert {row.partition: row.position for row in Checkpoint.objects.all()} == {
        partition: head.position for partition, head in heads.items()
    }


def test_a_batch_that_was_abandoned_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_doubled_entries_count_once(twice: Callable[[], None], settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    ballots = fill(poll, range(6), 1)
    revote(poll, revote(poll, ballots[0], 2), 3)
    revote(poll, ballots[1], 3)
    twice()
    count()
    assert check_books(poll) == {(1, "ballots"): 6, (1, "1"): 4, (1, "3"): 2}
    assert not DeadLetter.objects.exists()


# --- revotes ---


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
def test_the_last_ballot_of_a_voter_counts(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    ballots = fill(poll, range(5), 1)
    for ballot in ballots[1:]:
        second = revote(poll, ballot, 2)
        third = revote(poll, second, 3)
        revote(poll, third, 2)
    count()
    assert check_books(poll) == {(1, "ballots"): 5, (1, "1"): 1, (1, "2"): 4}
    assert not DeadLetter.objects.exists()


def test_a_replaced_ballot_is_taken_back_from_the_tally() -> None:
    poll = open_poll(method="multiple", max_selections=3, revote=True)
    (first,) = fill(poll, range(1), 1, 2)
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1, (1, "2"): 1}
    second = revote(poll, first, 2, 3)
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1, (1, "3"): 1}
    revote(poll, second, 1)
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1}
    assert Ballot.objects.count() == 1


def test_changing_to_the_same_selection_is_a_change_all_the_same() -> None:
    poll = open_poll(revote=True)
    (first,) = fill(poll, range(1), 1)
    count()
    seen = version(poll)
    second = revote(poll, first, 1)
    count()
    assert bytes(Ballot.objects.get().ballot_id) == second.ballot_id
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1}
    assert version(poll) > seen


@pytest.mark.parametrize("together", [True, False])
def test_a_ballot_replaces_one_that_was_set_aside_and_what_that_one_replaced(together: bool) -> None:
    poll = open_poll(revote=True)
    (first,) = fill(poll, range(1), 1)
    count()
    wrong = revote(poll, first, 77)
    if not together:
        count()
        wrong = revote(poll, wrong, 78)
        count()
    revote(poll, wrong, 2)
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}
    assert set(DeadLetter.objects.values_list("selection", flat=True)) == (
        {"77"} if together else {"77", "78"}
    )


# --- versions ---


def test_version_grows_with_each_change_and_epoch_with_a_reset() -> None:
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


# --- dead letters ---


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        ("99", "invalid_selection"),
        ("1,2", "invalid_selection"),
        ("1,1", "invalid_selection"),
        ("", "unreadable"),
        ("x", "unreadable"),
        ("1\0", "unreadable"),
        ("\ufffd\ufffd", "unreadable"),
    ],
)
def test_what_can_not_be_counted_is_set_aside_and_stops_nothing(selection: str, reason: str) -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    bad = NewBallot(poll.pk, b"w" * 16, b"i" * 16, selection, 1)
    if "\0" in selection and connection.vendor == "postgresql" and get_log().name == "database":
        return  # it can't even be in the log
    append(bad)
    fill(poll, range(10, 20), 1)
    count()
    assert check_books(poll) == {(1, "ballots"): 20, (1, "1"): 20}
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.status) == (reason, DeadLetter.Status.WAITING)
    assert letter.detail
    assert (bytes(letter.voter_key), bytes(letter.ballot_id)) == (bad.voter_key, bad.ballot_id)
    count()
    assert DeadLetter.objects.count() == 1


def test_a_round_or_a_method_that_nobody_knows_is_a_reason() -> None:
    gone, later, sound = open_poll(), open_poll(), open_poll()
    for poll in (gone, later, sound):
        fill(poll, range(9), 1)  # one more, and counting would halt instead
    Round.objects.filter(poll=gone).delete()
    for row in Round.objects.filter(poll=later):
        row.rules["method"] = "of_a_later_release"
        row.save()
    count()
    assert check_books(sound)[1, "ballots"] == 9
    assert set(DeadLetter.objects.values_list("reason", flat=True)) == {"unknown_round"}
    assert DeadLetter.objects.count() == 18


def test_a_selection_too_long_for_a_dead_letter_is_cut() -> None:
    poll = open_poll()
    entry = Entry(1, "ballot", poll.pk, 1, 0, b"v" * 16, b"b" * 16, "9" * 1000 + "\0")
    block_counting.count_blocks(0, [alone(entry)])
    assert DeadLetter.objects.get().selection == "9" * 400


def test_a_second_ballot_that_replaces_nothing_is_set_aside() -> None:
    """It can't pass the claim; should one ever be in the log, the first one stays."""
    poll = open_poll()
    first = Entry(1, "ballot", poll.pk, 1, 0, b"v" * 16, b"1" * 16, "1")
    second = Entry(2, "ballot", poll.pk, 1, 0, b"v" * 16, b"2" * 16, "2")
    block_counting.count_blocks(0, [alone(first), alone(second)])
    block_counting.count_blocks(0, [alone(_at(second, 3))])
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1}
    assert list(DeadLetter.objects.values_list("reason", "position")) == [
        ("already_counted", 3),
        ("already_counted", 2),
    ]


def set_aside(poll: Poll, voter: int = 50) -> DeadLetter:
    append(new_ballot(poll, voter, 77))
    count()
    return DeadLetter.objects.get()


def repair(poll: Poll) -> None:
    rules = Round.objects.get(poll=poll, number=1)
    rules.rules["numbers"].append(77)
    rules.save()


def test_a_dead_letter_is_counted_after_a_repair() -> None:
    poll = open_poll()
    fill(poll, range(5), 1)
    letter = set_aside(poll)
    with pytest.raises(IllegalState, match="no choice 77"):
        dead_letters.count_letter(letter.pk, by="anna")
    assert DeadLetter.objects.get().status == DeadLetter.Status.WAITING
    repair(poll)
    seen = version(poll)
    letter = dead_letters.count_letter(letter.pk, by="anna")
    assert (letter.status, letter.settled_by) == (DeadLetter.Status.COUNTED, "anna")
    assert letter.settled_at
    assert check_books(poll) == {(1, "ballots"): 6, (1, "1"): 5, (1, "77"): 1}
    assert version(poll) > seen
    with pytest.raises(IllegalState, match="before"):
        dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll)[1, "ballots"] == 6


def test_a_dead_letter_is_judged_and_told_by_when_it_was_accepted(pauses: Any) -> None:
    """Not by when it was set aside: decisions stand for what was accepted from then on."""
    poll = open_poll()
    before = get_log().clock()
    append(new_ballot(poll, 50, 77))
    after = get_log().clock()
    pauses()
    decisions.quarantine_new_ballots(poll, "A bot", by="ann")
    pauses()
    append(new_ballot(poll, 51, 77))
    count()
    DeadLetter.objects.update(set_aside_at=F("set_aside_at") + timedelta(hours=1))
    repair(poll)
    first, second = DeadLetter.objects.order_by("accepted_at")
    assert before <= to_milliseconds(first.accepted_at) <= after
    for letter in (first, second):
        dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll) == {
        (1, "ballots"): 1,
        (1, "77"): 1,
        (1, "quarantined:ballots"): 1,
        (1, "quarantined:77"): 1,
    }
    points = TallyPoint.objects.filter(poll_id=poll.pk).values_list("second", flat=True)
    assert set(points) == {to_milliseconds(first.accepted_at) // 1000}


def test_of_a_dead_letter_without_a_time_only_when_it_was_set_aside_is_known() -> None:
    """It is of an earlier release, or its entry couldn't be read."""
    poll = open_poll()
    block_counting.count_blocks(0, [alone(Entry(1, "ballot", poll.pk, 1, 0, b"v" * 16, b"b" * 16, "77"))])
    letter = DeadLetter.objects.get()
    assert letter.accepted_at is None
    repair(poll)
    dead_letters.count_letter(letter.pk, by="anna")
    (second,) = set(TallyPoint.objects.values_list("second", flat=True))
    assert second == int(letter.set_aside_at.timestamp())


def test_a_dead_letter_whose_time_makes_no_sense_breaks_no_page() -> None:
    poll = open_poll()
    far = Entry(1, "ballot", poll.pk, 1, 999_999_999_999_999, b"v" * 16, b"b" * 16, "77")
    block_counting.count_blocks(0, [alone(far)])
    assert DeadLetter.objects.get().accepted_at == LATEST


def test_a_dead_letter_is_rejected_for_good() -> None:
    poll = open_poll()
    letter = dead_letters.reject_letter(set_aside(poll).pk, by="anna")
    assert (letter.status, letter.settled_by) == (DeadLetter.Status.REJECTED, "anna")
    repair(poll)
    for settle in (dead_letters.count_letter, dead_letters.reject_letter):
        with pytest.raises(IllegalState, match="before"):
            settle(letter.pk, by="anna")
    assert check_books(poll) == {}


def test_a_dead_letter_takes_no_second_place_in_the_ledger() -> None:
    poll = open_poll(revote=True)
    letter = set_aside(poll)
    revote(poll, NewBallot(poll.pk, bytes(letter.voter_key), bytes(letter.ballot_id), "77"), 2)
    count()
    repair(poll)
    with pytest.raises(IllegalState, match="already_counted"):
        dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}


def test_a_dead_letter_replaces_what_it_was_cast_to_replace() -> None:
    poll = open_poll(revote=True)
    (first,) = fill(poll, range(1), 1)
    count()
    revote(poll, first, 77)
    count()
    repair(poll)
    dead_letters.count_letter(DeadLetter.objects.get().pk, by="anna")
    assert check_books(poll) == {(1, "ballots"): 1, (1, "77"): 1}


def test_a_dead_letter_that_is_counted_late_changes_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PUBLISH_WAIT_SECONDS", 0)
    poll = open_poll()
    fill(poll, range(5), 1)
    letter = set_aside(poll)
    other = new_ballot(poll, 51, 77)
    append(other)
    count()
    repair(poll)
    lifecycle.close_poll(poll.pk)
    count()
    assert Round.objects.get(poll=poll).result["ballots"] == 5
    dead_letters.count_letter(letter.pk, by="anna")
    assert Round.objects.get(poll=poll).result["ballots"] == 6
    assert Poll.objects.get().epoch == 1
    lifecycle.publish_poll(poll.pk)
    dead_letters.count_letter(DeadLetter.objects.get(status="waiting").pk, by="anna")
    assert Round.objects.get(poll=poll).result["ballots"] == 7
    assert Poll.objects.get().epoch == 2  # a published result never changes without one


def test_a_dead_letter_of_an_earlier_round_changes_that_rounds_result() -> None:
    poll = open_poll()
    fill(poll, range(5), 1)
    letter = set_aside(poll)
    lifecycle.close_poll(poll.pk)
    count()
    before = Round.objects.get(poll=poll).result
    lifecycle.reset_poll(poll.pk)
    repair(poll)
    dead_letters.count_letter(letter.pk, by="anna")
    after = Round.objects.get(poll=poll).result
    assert after["ballots"] == before["ballots"] + 1 == check_books(poll)[1, "ballots"]
    assert after["choices"][0]["share"] == round(5 / 6, 4)
    assert (Poll.objects.get().round, Poll.objects.get().epoch) == (2, 2)


def test_the_history_of_an_earlier_round_follows_too_where_it_moved_in_steps() -> None:
    poll = open_poll(release_step=2)
    fill(poll, range(5), 1)
    letter = set_aside(poll)
    lifecycle.close_poll(poll.pk)
    count()
    lifecycle.reset_poll(poll.pk)
    repair(poll)
    dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll)[1, "ballots"] == 6


# --- a log that is not the one that was counted from ---


def test_it_counts_nothing_from_a_log_that_is_foreign_or_behind() -> None:
    poll = open_poll()
    fill(poll, range(40), 1)
    for change in ({"generation": "ffff"}, {"position": 1_000_000}):
        kept = list(Checkpoint.objects.values("partition", "generation", "position"))
        Checkpoint.objects.update(**change)
        for partition in range(get_log().partitions):
            with pytest.raises(LogInconsistent):
                batches.count_partition(partition)
        for row in kept:
            Checkpoint.objects.filter(partition=row["partition"]).update(**row)
    assert tallied(poll) == {}
    count()
    assert check_books(poll)[1, "ballots"] == 40


@pytest.mark.parametrize("lost", [3, 10_000])
def test_it_counts_nothing_behind_a_gap(lost: int) -> None:
    """Entries that are gone before they were counted must not be passed over in silence."""
    poll, log = open_poll(), get_log()
    for voter in range(40):  # one by one, since a log may forget only all of what came together
        fill(poll, range(voter, voter + 1), 1)
    for partition in range(log.partitions):
        log.trim(partition, lost)
        with pytest.raises(LogInconsistent):
            batches.count_partition(partition)
    assert tallied(poll) == {}


def test_a_partition_that_can_not_be_counted_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    poll = open_poll()
    fill(poll, range(40), 1)
    Checkpoint.objects.filter(partition=0).update(generation="ffff")
    tasks.sweep()
    per_partition = dict(Checkpoint.objects.values_list("partition", "position"))
    assert per_partition.pop(0) == 0
    assert all(per_partition.values())
    assert "log_inconsistent" in caplog.text


def test_the_log_is_made_once_by_whoever_comes_first() -> None:
    poll = make_poll()
    assert not Checkpoint.objects.exists()
    lifecycle.open_poll(poll.pk)
    made = {row.partition: Head(row.generation, row.position) for row in Checkpoint.objects.all()}
    assert made == get_log().heads() == checkpoints.expected_heads()
    assert len({head.generation for head in made.values()}) == get_log().partitions
    checkpoints.verify()


def test_the_backlog_is_what_is_not_counted() -> None:
    poll = open_poll()
    fill(poll, range(25))
    assert checkpoints.backlog() == 25
    count()
    assert checkpoints.backlog() == 0


# --- trimming ---


def in_log() -> int:
    log = get_log()
    return sum(len(entries_of(log.read(partition, 0, 1000))) for partition in range(log.partitions))


def a_minute_passes() -> None:
    noted = Checkpoint.objects.exclude(trim_noted_at=None)
    noted.update(trim_noted_at=F("trim_noted_at") - timedelta(minutes=1))


def test_the_log_is_trimmed_behind_what_was_counted_a_minute_ago() -> None:
    poll = open_poll()
    fill(poll, range(30))
    count()
    assert in_log() == 30
    a_minute_passes()
    fill(poll, range(30, 50))
    count()
    assert in_log() in range(20, 51)
    a_minute_passes()
    count()
    a_minute_passes()
    count()
    assert in_log() == 0
    fill(poll, range(50, 60))
    count()
    assert check_books(poll)[1, "ballots"] == 60


def test_an_idle_log_is_emptied_and_then_left_alone() -> None:
    poll = open_poll()
    fill(poll, range(30))
    for _ in range(4):
        count()
        a_minute_passes()
    assert in_log() == 0
    assert not Checkpoint.objects.exclude(trim_noted_at=None).exists()


def test_a_store_that_cant_be_trimmed_is_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise Unavailable()

    def some_minutes() -> None:
        for _ in range(3):
            a_minute_passes()
            count()

    poll = open_poll()
    fill(poll, range(30))
    count()
    with monkeypatch.context() as patch:
        patch.setattr(type(get_log()), "trim", full)
        fill(poll, range(30, 50))
        some_minutes()
    assert check_books(poll)[1, "ballots"] == in_log() == 50
    some_minutes()
    assert in_log() == 0


def test_nothing_is_trimmed_before_its_time() -> None:
    poll = open_poll()
    for number in range(5):
        fill(poll, range(number * 10, number * 10 + 10))
        count()
    assert in_log() == 50
    noted = Checkpoint.objects.exclude(trim_noted_at=None).first()
    assert noted and noted.trim_noted_at and timezone.now() - noted.trim_noted_at < timedelta(minutes=1)


# --- several workers ---


@pytest.mark.django_db(transaction=True)
class TestSeveralWorkers:
    def test_workers_on_all_partitions_count_once(self, settings: Any) -> None:
        settings.COUNT_BATCH = 20
        poll = open_poll(revote=True)
        ballots = fill(poll, range(150), 1)
        for ballot in ballots[:50]:
            revote(poll, ballot, 2)
        partitions = [*range(get_log().partitions)] * 3
        at_once(batches.count_partition, partitions, threads=3)
        assert count() == 0
        assert check_books(poll) == {(1, "ballots"): 150, (1, "1"): 100, (1, "2"): 50}

    def test_the_books_balance_at_every_moment(self, settings: Any) -> None:
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
    def test_a_worker_passes_by_a_partition_that_another_holds(self) -> None:
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
            assert batches.count_partition(0) is None  # and did not wait
        finally:
            let_go.set()
            holding.join()
        count()
        assert check_books(poll)[1, "ballots"] == 40

    @pytest.mark.full_only
    def test_what_came_while_another_passed_by_is_not_left_behind(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The one that holds the partition looks again after it has let go."""
        poll = open_poll()
        fill(poll, range(20), 1)
        looks = itertools.count(1)
        is_due = trimming.is_due

        def pass_by(partition: int) -> int | None:
            fill(poll, range(20, 40), 1)
            return batches.count_partition(partition)

        def passed_by(checkpoint: Checkpoint) -> bool:
            # The log has just been read to its end, and the partition is still ours.
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
            connection.connection.close()  # as a server does that has waited for too long
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

    def test_a_log_is_made_from_several_sides_at_once(self) -> None:
        votelog.forget_log()
        heads = at_once(lambda _: checkpoints.expected_heads(), range(6), threads=6)
        assert all(each == heads[0] for each in heads)
        assert heads[0] == get_log().heads()
        assert len(heads[0]) == get_log().partitions

    def test_a_letter_counted_while_the_poll_closes_is_in_the_result(self) -> None:
        for _ in range(3):
            poll = open_poll()
            fill(poll, range(5), 1)
            append(new_ballot(poll, 50, 77))
            count()
            letter = DeadLetter.objects.get(poll_id=poll.pk)
            repair(poll)
            lifecycle.close_poll(poll.pk)
            jobs: list[Callable[[], Any]] = [count, lambda: dead_letters.count_letter(letter.pk, "anna")]  # noqa: B023
            at_once(lambda job: job(), jobs, threads=2)
            count()
            poll.refresh_from_db()
            assert poll.state == State.CLOSED
            assert Round.objects.get(poll=poll).result["ballots"] == 6
            assert check_books(poll)[1, "ballots"] == 6


def look(poll: Poll) -> None:
    """In one statement's view of the database, votes and ballots of a single choice agree."""
    rows = Tally.objects.filter(poll_id=poll.pk).values_list("key", "count")
    sums: dict[bool, int] = {True: 0, False: 0}
    for key, number in rows:
        sums[key == "ballots"] += number
    assert sums[True] == sums[False]


# --- news ---


def test_a_screen_that_can_not_be_told_stops_no_counting(settings: Any) -> None:
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


def test_points_tell_when_ballots_came_in() -> None:
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
