"""A ballot that can't be counted becomes a dead letter. Operators reject it, or count it after a repair."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from analytics.counting import (
    block_counting,
    dead_letters,
)
from analytics.models import TallyPoint
from analytics.quarantine import decisions
from polls import lifecycle
from polls.errors import IllegalState
from polls.models import DeadLetter, Poll, Round, State
from polls.text.timestamps import LATEST, to_milliseconds
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from polls.votelog.entries import Entry
from tests.factories import (
    alone,
    append,
    check_books,
    count,
    fill,
    new_ballot,
    open_poll,
    revote,
    version,
)
from tests.threads import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log"), pytest.mark.both_logs]


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
def test_an_invalid_ballot_becomes_a_dead_letter_and_stops_no_other(selection: str, reason: str) -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    bad = NewBallot(poll.pk, b"w" * 16, b"i" * 16, selection, 1)
    if "\0" in selection and connection.vendor == "postgresql" and get_log().name == "database":
        return  # the database log can't store this text
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


def test_ballots_of_an_unknown_round_method_or_config_become_dead_letters() -> None:
    gone, later, other, sound = (open_poll() for _ in range(4))
    for poll in (gone, later, other, sound):
        fill(poll, range(9), 1)  # with one more the poll would halt
    Round.objects.filter(poll=gone).delete()
    for row in Round.objects.filter(poll=later):
        row.rules["method"] = "of_a_later_release"
        row.save()
    for row in Round.objects.filter(poll=other):
        row.rules["config"] = {"of_a_later_release": True}
        row.save()
    count()
    assert check_books(sound)[1, "ballots"] == 9
    assert set(DeadLetter.objects.values_list("reason", flat=True)) == {"unknown_round"}
    assert DeadLetter.objects.count() == 27


def test_a_dead_letter_truncates_a_long_selection() -> None:
    poll = open_poll()
    entry = Entry(1, "ballot", poll.pk, 1, 0, b"v" * 16, b"b" * 16, "9" * 1000 + "\0")
    block_counting.count_blocks(0, [alone(entry)])
    assert DeadLetter.objects.get().selection == "9" * 400


def make_dead_letter(poll: Poll, voter: int = 50) -> DeadLetter:
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
    letter = make_dead_letter(poll)
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
    with pytest.raises(IllegalState, match="already settled"):
        dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll)[1, "ballots"] == 6


def test_a_dead_letter_counts_by_the_time_of_its_acceptance(pauses: Any) -> None:
    """A quarantine of new ballots applies to dead letters whose ballots were accepted after it began."""
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


def test_a_dead_letter_without_a_time_counts_by_the_time_it_was_set_aside() -> None:
    """The time is missing if an earlier version made the dead letter, or if the entry was unreadable."""
    poll = open_poll()
    block_counting.count_blocks(0, [alone(Entry(1, "ballot", poll.pk, 1, 0, b"v" * 16, b"b" * 16, "77"))])
    letter = DeadLetter.objects.get()
    assert letter.accepted_at is None
    repair(poll)
    dead_letters.count_letter(letter.pk, by="anna")
    (second,) = set(TallyPoint.objects.values_list("second", flat=True))
    assert second == int(letter.set_aside_at.timestamp())


def test_a_dead_letter_with_an_impossible_time_gets_the_latest_one() -> None:
    poll = open_poll()
    far = Entry(1, "ballot", poll.pk, 1, 999_999_999_999_999, b"v" * 16, b"b" * 16, "77")
    block_counting.count_blocks(0, [alone(far)])
    assert DeadLetter.objects.get().accepted_at == LATEST


def test_a_rejected_dead_letter_can_not_be_counted() -> None:
    poll = open_poll()
    letter = dead_letters.reject_letter(make_dead_letter(poll).pk, by="anna")
    assert (letter.status, letter.settled_by) == (DeadLetter.Status.REJECTED, "anna")
    repair(poll)
    for settle in (dead_letters.count_letter, dead_letters.reject_letter):
        with pytest.raises(IllegalState, match="already settled"):
            settle(letter.pk, by="anna")
    assert check_books(poll) == {}


def test_a_dead_letter_is_not_counted_after_its_voter_voted_again() -> None:
    poll = open_poll(revote=True)
    letter = make_dead_letter(poll)
    revote(poll, NewBallot(poll.pk, bytes(letter.voter_key), bytes(letter.ballot_id), "77"), 2)
    count()
    repair(poll)
    with pytest.raises(IllegalState, match="already_counted"):
        dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}


def test_a_dead_letter_replaces_the_ballot_that_it_names() -> None:
    poll = open_poll(revote=True)
    (first,) = fill(poll, range(1), 1)
    count()
    revote(poll, first, 77)
    count()
    repair(poll)
    dead_letters.count_letter(DeadLetter.objects.get().pk, by="anna")
    assert check_books(poll) == {(1, "ballots"): 1, (1, "77"): 1}


def test_counting_a_dead_letter_after_closing_changes_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PUBLISH_WAIT_SECONDS", 0)
    poll = open_poll()
    fill(poll, range(5), 1)
    letter = make_dead_letter(poll)
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
    assert Poll.objects.get().epoch == 2  # a published result changes only under a new epoch


def test_counting_a_dead_letter_changes_an_earlier_rounds_result() -> None:
    poll = open_poll()
    fill(poll, range(5), 1)
    letter = make_dead_letter(poll)
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


def test_counting_a_dead_letter_changes_an_earlier_rounds_stepped_history() -> None:
    poll = open_poll(release_step=2)
    fill(poll, range(5), 1)
    letter = make_dead_letter(poll)
    lifecycle.close_poll(poll.pk)
    count()
    lifecycle.reset_poll(poll.pk)
    repair(poll)
    dead_letters.count_letter(letter.pk, by="anna")
    assert check_books(poll)[1, "ballots"] == 6


@pytest.mark.django_db(transaction=True)
def test_a_dead_letter_counted_while_the_poll_closes_is_in_the_result() -> None:
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
