"""Stepped results: a viewer sees at least k more ballots at a time, or no change."""

import contextlib
import itertools
import os
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import tasks
from analytics.audit import recount
from analytics.counting import batches, closing, dead_letters, stepped_results
from analytics.models import Quarantine, Release, Tally, TallyPoint
from analytics.quarantine import decisions
from analytics.results import anonymity_threshold, documents, tallies
from polls import lifecycle
from polls.casting.receipts import make_receipt
from polls.errors import TooFewBallots
from polls.models import DeadLetter, Poll, Round, State
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from tests.factories import append, check_books, count, fill, new_ballot, open_poll, tallied
from tests.threads import at_once

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
Figures = dict[str, Any]


def seen(poll: Poll) -> tuple[Figures, tuple[int, int, int]]:
    """Return the document and the stamp that viewers get. All ways to read them must agree."""
    snap = tallies.snapshot_of(poll.code)
    assert tallies.newest(poll.pk) == snap
    assert tallies.newest(poll.pk, snap) is snap
    assert tallies.stamps([poll.pk]) == {poll.pk: snap.stamp}
    return documents.document(snap, visible=True), snap.stamp


def total(figures: Figures) -> int:
    return int(figures["ballots"] + figures.get("quarantined", {}).get("ballots", 0))


def figures_in(document: Figures) -> Figures:
    return {
        name: document.get(name) for name in ("ballots", "selections", "choices", "quarantined", "version")
    }


def close(poll: Poll) -> Poll:
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    closed = Poll.objects.get(pk=poll.pk)
    assert closed.state == State.CLOSED
    return closed


def one_by_one(poll: Poll, voters: range) -> list[int]:
    """Count the ballots one at a time. Return the number that viewers see after each."""
    shown = []
    for voter in voters:
        fill(poll, range(voter, voter + 1), 1)
        count()
        shown.append(total(seen(poll)[0]))
    return shown


def test_shown_counts_move_by_k_and_lag_one_step_behind() -> None:
    poll = open_poll(release_step=5)
    assert one_by_one(poll, range(17)) == [0] * 9 + [5] * 5 + [10] * 3
    closed = close(poll)
    figures, _ = seen(closed)
    assert figures["ballots"] == 17
    assert Round.objects.get(poll=poll).result["ballots"] == 17
    assert check_books(poll)[1, "ballots"] == 17


@pytest.mark.parametrize("ballots", [0, 1, 4])
def test_less_than_a_step_is_shown_after_closing(ballots: int) -> None:
    poll = open_poll(release_step=5)
    one_by_one(poll, range(ballots))
    assert seen(poll)[0]["ballots"] == 0
    assert seen(close(poll))[0]["ballots"] == ballots
    check_books(poll)


def test_a_release_step_of_one_shows_every_ballot() -> None:
    poll = open_poll()
    assert one_by_one(poll, range(3)) == [1, 2, 3]
    assert not Release.objects.exists()


def test_a_closing_poll_shows_the_released_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = open_poll(release_step=5)
    one_by_one(poll, range(12))
    fill(poll, range(12, 15), 1)
    lifecycle.close_poll(poll.pk)
    with monkeypatch.context() as patch:
        patch.setattr(closing, "close_counted_polls", lambda: None)
        count()
    assert Poll.objects.get(pk=poll.pk).state == State.CLOSING
    assert seen(poll)[0]["ballots"] == 10
    closing.close_counted_polls()
    assert seen(poll)[0]["ballots"] == 15


def test_replaced_ballots_alone_change_nothing() -> None:
    poll = open_poll(release_step=3, revote=True)
    ballots = fill(poll, range(8), 1)
    count()
    fill(poll, range(8, 12), 1)
    count()
    before = seen(poll)
    for each in ballots:
        voter = int.from_bytes(each.voter_key, "big")
        append(new_ballot(poll, voter, 2, replaces=each.ballot_id))
        count()
        assert seen(poll) == before


def test_history_is_written_with_each_step() -> None:
    poll = open_poll(release_step=5)
    one_by_one(poll, range(9))
    assert not TallyPoint.objects.exists()
    fill(poll, range(9, 13), 1)
    count()
    assert tallied(poll, TallyPoint) == {(1, "ballots"): 5, (1, "1"): 5}
    close(poll)
    check_books(poll)


def test_staff_sees_the_released_counts_too() -> None:
    poll = open_poll(release_step=5, results_visible="staff")
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    one_by_one(poll, range(8))
    answer = client.get(f"/api/v1/polls/{poll.code}/tally/")
    assert (answer.json()["visible"], answer.json()["ballots"], answer.json()["version"]) == (True, 0, 0)
    (row,) = client.get("/admin/figures/").json()["polls"]
    assert row["ballots"] == "0"
    one_by_one(poll, range(8, 10))
    assert (
        client.get(f"/api/v1/polls/{poll.code}/tally/", headers={"If-None-Match": answer["ETag"]}).status_code
        == 200
    )
    (row,) = client.get("/admin/figures/").json()["polls"]
    assert row["ballots"] == "5"


def test_quarantined_ballots_show_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anonymity_threshold, "LEAST", 4)
    poll = open_poll(release_step=4)
    ballots = fill(poll, range(4), 1)
    count()
    fill(poll, range(4, 8), 1)
    count()
    before = seen(poll)[0]
    assert before["ballots"] == 4
    receipts = [make_receipt(poll.pk, 1, each.voter_key, each.ballot_id) for each in ballots]
    decision = decisions.quarantine_receipts(poll, receipts, "Sold", "user ann").decision
    assert decision is not None
    assert figures_in(seen(poll)[0]) == figures_in(before)
    one_by_one(poll, range(8, 16))
    assert figures_in(seen(poll)[0]) != figures_in(before)
    one_by_one(poll, range(16, 20))
    shown = seen(poll)[0]
    assert (shown["ballots"], shown["quarantined"]) == (12, {"ballots": 4, "withheld": True, "reasons": 1})
    decisions.release(decision.pk, "user ann")
    assert seen(poll)[0]["quarantined"]["ballots"] == 4
    assert seen(close(poll))[0]["ballots"] == 20
    check_books(poll)


def test_changes_of_a_closed_result_are_in_the_history() -> None:
    poll = open_poll(release_step=4)
    append(*(new_ballot(poll, voter, 1, quarantine_rule="over_limit") for voter in range(10)))
    append(new_ballot(poll, 50, 77))
    fill(poll, range(10, 20), 1)
    poll = close(poll)
    rules = Round.objects.get(poll=poll).rules
    Round.objects.filter(poll=poll).update(rules=rules | {"numbers": [1, 2, 3, 77]})
    dead_letters.count_letter(DeadLetter.objects.get().pk, "ann")
    decisions.release(Quarantine.objects.get().pk, "user ann")
    assert check_books(poll)[1, "ballots"] == 21


def test_a_recount_finds_the_true_counts_and_releases_none() -> None:
    poll = open_poll(release_step=5)
    one_by_one(poll, range(8))
    found = recount.recount(Round.objects.get(poll=poll))
    assert {line.key: line.ledger for line in found.lines}["ballots"] == 8
    assert seen(poll)[0]["ballots"] == 0


def test_a_corrected_tally_writes_no_history() -> None:
    poll = open_poll(release_step=5)
    one_by_one(poll, range(8))
    Tally.objects.filter(poll_id=poll.pk, key="ballots").update(count=F("count") + 2)
    recount.fix(Round.objects.get(poll=poll), by="boss")
    assert not TallyPoint.objects.filter(poll_id=poll.pk).exists()
    assert seen(poll)[0]["ballots"] == 0


def test_the_sweep_takes_a_step_that_a_crash_prevented(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = open_poll(release_step=5)
    with monkeypatch.context() as patch:
        patch.setattr(stepped_results, "advance", lambda poll_ids: None)
        fill(poll, range(7), 1)
        count()
        fill(poll, range(7, 14), 1)
        count()
    tasks.sweep()
    assert Release.objects.get().next_counts["ballots"] == 14
    assert seen(poll)[0]["ballots"] == 0


def test_a_new_round_starts_at_zero() -> None:
    poll = open_poll(release_step=5)
    one_by_one(poll, range(12))
    lifecycle.reset_poll(poll.pk)
    lifecycle.open_poll(poll.pk)
    assert seen(Poll.objects.get(pk=poll.pk))[0]["ballots"] == 0


@pytest.mark.django_db(transaction=True)
def test_partitions_counted_at_once_release_whole_steps() -> None:
    poll = open_poll(release_step=7)
    shown = [0]
    for start in range(0, 120, 12):
        fill(poll, range(start, start + 12), 1)
        at_once(batches.count_partition, range(get_log().partitions))
        shown.append(total(seen(poll)[0]))
    steps = [later - earlier for earlier, later in itertools.pairwise(shown) if later != earlier]
    assert steps
    assert min(steps) >= 7
    close(poll)
    check_books(poll)


OPERATIONS = st.one_of(
    st.tuples(st.just("cast"), st.integers(1, 6)),
    st.tuples(st.just("aside"), st.integers(1, 3)),
    st.tuples(st.just("change"), st.integers(0, 40)),
    st.tuples(st.just("count"), st.integers(0, 3)),
    st.tuples(st.just("all"), st.just(0)),
    st.tuples(st.just("receipt"), st.integers(0, 40)),
    st.tuples(st.just("release"), st.just(0)),
)


class Crowd:
    """Voters of a stepped poll who vote one after another."""

    def __init__(self, step: int) -> None:
        self.poll = open_poll(release_step=step, revote=True)
        self.ballots: list[NewBallot] = []

    def cast(self, how_many: int, quarantine_rule: str = "") -> None:
        for _ in range(how_many):
            voter = len(self.ballots)
            ballot = new_ballot(self.poll, voter, 1 + voter % 3, quarantine_rule=quarantine_rule)
            append(ballot)
            self.ballots.append(ballot)

    def do(self, name: str, number: int) -> None:
        match name:
            case "cast" | "aside":
                self.cast(number, "over_limit" if name == "aside" else "")
            case "change" if number < len(self.ballots):
                before = self.ballots[number]
                after = new_ballot(self.poll, number, 1 + number % 2, replaces=before.ballot_id)
                append(after)
                self.ballots[number] = after
            case "count":
                batches.count_partition(number % get_log().partitions)
            case "all":
                count()
            case "receipt" if number < len(self.ballots):
                some = self.ballots[number : number + 2 * self.poll.release_step]
                receipts = [make_receipt(self.poll.pk, 1, each.voter_key, each.ballot_id) for each in some]
                with contextlib.suppress(TooFewBallots):
                    decisions.quarantine_receipts(self.poll, receipts, "Sold", "user ann")
            case "release":
                for decision in Quarantine.objects.filter(poll_id=self.poll.pk, released_at=None)[:1]:
                    decisions.release(decision.pk, "user ann")


@given(step=st.integers(2, 7), operations=st.lists(OPERATIONS, max_size=40), batch=st.integers(1, 8))
@settings(max_examples=EXAMPLES or 15)
def test_steps_hold_for_random_ballots_and_batches(
    django_user_model: Any, step: int, operations: list[tuple[str, int]], batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.COUNT_BATCH", batch)
        patch.setattr(anonymity_threshold, "LEAST", 1)  # so that only the step hides figures
        crowd = Crowd(step)
        shown = [seen(crowd.poll)[0]]
        stamps = [seen(crowd.poll)[1]]
        for name, number in operations:
            crowd.do(name, number)
            document, stamp = seen(crowd.poll)
            shown.append(document)
            stamps.append(stamp)
        shown.append(seen(close(crowd.poll))[0])
    assert stamps == sorted(stamps)
    for earlier, later in itertools.pairwise(shown[:-1]):
        if figures_in(earlier) != figures_in(later):
            assert total(later) - total(earlier) >= step
            assert later["ballots"] - earlier["ballots"] >= step
    # Closing, too, adds at least a whole step to the shown ballots, unless the poll has fewer ballots.
    assert total(shown[-1]) == len(crowd.ballots)
    last = total(shown[-1]) - total(shown[-2])
    assert last >= step or total(shown[-1]) < step
    check_books(crowd.poll)
