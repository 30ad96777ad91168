"""The ledger has each voter's last ballot, and the tally follows."""

from dataclasses import replace
from typing import Any

import pytest

from analytics.counting import (
    block_counting,
)
from polls.models import Ballot, DeadLetter
from polls.votelog.entries import Entry
from tests.factories import (
    alone,
    check_books,
    count,
    fill,
    open_poll,
    revote,
    version,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log"), pytest.mark.both_logs]


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


def test_a_replaced_ballot_is_subtracted_from_the_tally() -> None:
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


def test_a_revote_with_the_same_selection_changes_the_version() -> None:
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
def test_a_ballot_replaces_a_dead_letter_and_what_that_one_replaced(together: bool) -> None:
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


def test_a_second_ballot_that_replaces_none_becomes_a_dead_letter() -> None:
    """Normally a claim keeps a second ballot out of the log. If it gets there, the first ballot counts."""
    poll = open_poll()
    first = Entry(1, "ballot", poll.pk, 1, 0, b"v" * 16, b"1" * 16, "1")
    second = Entry(2, "ballot", poll.pk, 1, 0, b"v" * 16, b"2" * 16, "2")
    block_counting.count_blocks(0, [alone(first), alone(second)])
    block_counting.count_blocks(0, [alone(replace(second, position=3))])
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1}
    assert list(DeadLetter.objects.values_list("reason", "position")) == [
        ("already_counted", 3),
        ("already_counted", 2),
    ]
