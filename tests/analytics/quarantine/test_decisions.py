"""Ballots that are set aside: in the ledger as before, in the second tally, and back on release."""

from typing import Any

import pytest
from django.db.models import F
from redis.exceptions import RedisError

from analytics import tasks
from analytics.audit import recount
from analytics.counting import closing, dead_letters
from analytics.counting.quarantine_assignment import BY_RULE
from analytics.models import Checkpoint, Quarantine, Tally, TallyPoint
from analytics.quarantine import decisions, moves
from analytics.results import documents, tallies
from polls import clock, lifecycle
from polls.casting.receipts import make_receipt, receipt_status
from polls.errors import IllegalState, Malformed
from polls.models import Ballot, DeadLetter, Poll, Record, Round
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from tests.factories import append, check_books, count, fill, make_poll, new_ballot, open_poll, version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log", "without_threshold")]

ANN = "user ann"


def receipt(poll: Poll, ballot: NewBallot) -> str:
    return make_receipt(poll.pk, poll.round, ballot.voter_key, ballot.ballot_id)


def aside(poll: Poll, voters: range, *selection: int, rule: str = "over_limit") -> list[NewBallot]:
    ballots = [new_ballot(poll, voter, *(selection or [1]), quarantine_rule=rule) for voter in voters]
    assert {outcome.code for outcome in append(*ballots)} == {"accepted"}
    return ballots


def change(poll: Poll, before: NewBallot, *selection: int, **fields: Any) -> NewBallot:
    voter = int.from_bytes(before.voter_key, "big")
    ballot = new_ballot(poll, voter, *selection, replaces=before.ballot_id, **fields)
    assert [outcome.code for outcome in append(ballot)] == ["accepted"]
    return ballot


def both(poll: Poll) -> tuple[int, int]:
    """Ballots in the first tally, and in the second."""
    books = check_books(poll)
    return books.get((poll.round, "ballots"), 0), books.get((poll.round, "quarantined:ballots"), 0)


def figures(poll: Poll) -> dict[str, Any]:
    return documents.document(tallies.snapshot_of(poll.code), visible=True)


def close(poll: Poll) -> Poll:
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    return Poll.objects.get(pk=poll.pk)


def set_aside(poll: Poll, ballots: list[NewBallot]) -> Quarantine:
    done = decisions.quarantine_receipts(poll, [receipt(poll, each) for each in ballots], "Sold votes", ANN)
    assert done.decision is not None
    return done.decision


# --- what a rule sets aside ---


def test_what_a_rule_sets_aside_is_counted_in_the_second_tally() -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    aside(poll, range(10, 16), 2)
    fill(poll, range(16, 20), 1)
    count()
    assert check_books(poll) == {
        (1, "ballots"): 14, (1, "1"): 14, (1, "quarantined:ballots"): 6, (1, "quarantined:2"): 6,
    }  # fmt: skip
    decision = Quarantine.objects.get()
    assert (decision.rule, decision.decided_by, decision.round) == ("over_limit", BY_RULE, 1)
    assert decisions.count_ballots(decision) == 6


def test_a_rule_has_one_decision_a_round_until_it_is_released() -> None:
    poll, other = open_poll(), open_poll()
    for voter in range(6):
        aside(poll, range(voter, voter + 1))
        aside(other, range(voter, voter + 1))
        count()
    assert Quarantine.objects.count() == 2
    first = Quarantine.objects.get(poll_id=poll.pk)
    decisions.release(first.pk, ANN)
    assert both(poll) == (6, 0)
    aside(poll, range(10, 12))
    count()
    assert both(poll) == (6, 2)
    assert Quarantine.objects.filter(poll_id=poll.pk).count() == 2


def test_a_second_ballot_doesnt_count_apart_either() -> None:
    poll = open_poll()
    (ballot,) = aside(poll, range(1))
    assert append(ballot)[0].repeated
    (outcome,) = append(new_ballot(poll, 0, 2))
    assert outcome.code == "already_voted"
    count()
    assert both(poll) == (0, 1)


def test_a_letter_that_was_aside_counts_apart_once_it_can_be_counted() -> None:
    poll = open_poll()
    aside(poll, range(1), 77)
    count()
    letter = DeadLetter.objects.get(poll_id=poll.pk)
    rules = {"method": "single", "numbers": [1, 2, 3, 77], "least": 1, "most": 1}
    Round.objects.filter(poll_id=poll.pk).update(rules=rules)
    dead_letters.count_letter(letter.pk, "ann")
    assert both(poll) == (0, 1)


# --- voters who change their ballots ---


@pytest.mark.parametrize("batch", [1, 1000])
def test_who_was_set_aside_stays_so_with_another_ballot(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    (first,) = aside(poll, range(1), 1)
    change(poll, first, 2)
    count()
    assert check_books(poll) == {(1, "quarantined:ballots"): 1, (1, "quarantined:2"): 1}


@pytest.mark.parametrize("batch", [1, 1000])
def test_a_ballot_that_is_set_aside_takes_along_the_one_it_replaces(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    (first,) = fill(poll, range(1), 1)
    second = change(poll, first, 2, quarantine_rule="over_limit")
    change(poll, second, 3)
    count()
    assert check_books(poll) == {(1, "quarantined:ballots"): 1, (1, "quarantined:3"): 1}


def test_a_released_voter_counts_whatever_comes_next() -> None:
    poll = open_poll(revote=True)
    (first,) = aside(poll, range(1), 1)
    count()
    decisions.release(Quarantine.objects.get().pk, ANN)
    change(poll, first, 2)
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}


# --- receipts ---


def test_ballots_are_set_aside_by_their_receipts() -> None:
    poll, other = open_poll(), open_poll()
    ballots = fill(poll, range(20), 1)
    elsewhere = fill(other, range(1))
    count()
    waiting = fill(poll, range(50, 52), 1)
    given = [receipt(poll, each) for each in (*ballots[:5], ballots[0], *waiting)]
    before = version(poll)
    done = decisions.quarantine_receipts(
        poll, [*given, receipt(other, elsewhere[0]), "nonsense", "A" * 72], " Sold ", ANN
    )
    assert (done.ballots, done.already, done.not_counted, done.unknown) == (5, 0, 2, 3)
    assert done.decision is not None
    assert (done.decision.reason, done.decision.decided_by) == ("Sold", ANN)
    assert both(poll) == (15, 5)
    assert version(poll) > before
    assert receipt_status(given[0])["status"] == "quarantined"
    again = decisions.quarantine_receipts(poll, given[:5], "Sold", ANN)
    assert (again.decision, again.ballots, again.already) == (None, 0, 5)
    count()
    assert (both(poll), both(other)) == ((17, 5), (1, 0))


def test_a_receipt_that_was_replaced_stands_for_its_voters_ballot() -> None:
    poll = open_poll(revote=True)
    ballots = fill(poll, range(3), 1)
    change(poll, ballots[0], 2)
    count()
    set_aside(poll, ballots[:1])
    assert check_books(poll) == {
        (1, "ballots"): 2, (1, "1"): 2, (1, "quarantined:ballots"): 1, (1, "quarantined:2"): 1,
    }  # fmt: skip


def test_it_takes_a_reason() -> None:
    poll = open_poll()
    for attempt in (
        lambda: decisions.quarantine_receipts(poll, [], " ", ANN),
        lambda: decisions.quarantine_new_ballots(poll, "", ANN),
    ):
        with pytest.raises(Malformed):
            attempt()


# --- from now on ---


def test_everything_from_now_on_until_it_is_ended(pauses: Any) -> None:
    poll, other = open_poll(), open_poll()
    fill(poll, range(5), 1)
    pauses()
    decision = decisions.quarantine_new_ballots(poll, "A bot", ANN)
    pauses()
    fill(poll, range(5, 12), 1)
    fill(other, range(5), 1)
    pauses()
    decisions.end(decision.pk, ANN)
    pauses()
    fill(poll, range(12, 15), 1)
    count()
    assert both(poll) == (8, 7)
    assert both(other) == (5, 0)
    with pytest.raises(IllegalState):
        decisions.end(decision.pk, ANN)
    decisions.release(decision.pk, ANN)
    assert both(poll) == (15, 0)


@pytest.mark.usefixtures("wrong_clock")
def test_a_decision_stands_by_the_vote_logs_clock(pauses: Any) -> None:
    poll = open_poll()
    fill(poll, range(5), 1)
    pauses()
    decision = decisions.quarantine_new_ballots(poll, "A bot", ANN)
    pauses()
    fill(poll, range(5, 12), 1)
    pauses()
    decisions.end(decision.pk, ANN)
    pauses()
    fill(poll, range(12, 15), 1)
    count()
    assert both(poll) == (8, 7)


@pytest.mark.usefixtures("wrong_clock")
def test_the_history_is_by_the_vote_logs_clock_whatever_is_moved_or_corrected() -> None:
    poll, steps = open_poll(), open_poll(release_step=2)
    before = get_log().clock() // 1000
    ballots = fill(poll, range(5), 1)
    fill(steps, range(2), 1)
    count()
    fill(steps, range(2, 6), 1)  # by which the first step is released
    count()
    decisions.release(set_aside(poll, ballots[:2]).pk, ANN)
    Tally.objects.filter(poll_id=poll.pk, key="1").update(count=F("count") + 1)
    TallyPoint.objects.filter(poll_id=poll.pk, key="1").update(count=F("count") + 1)
    recount.fix(recount.get_round(poll), by=ANN)
    after = get_log().clock() // 1000
    assert both(poll) == (5, 0)
    assert set(TallyPoint.objects.values_list("poll_id", flat=True)) == {poll.pk, steps.pk}
    seconds = TallyPoint.objects.values_list("second", flat=True)
    assert set(seconds) <= set(range(before, after + 1))


def test_while_the_log_is_away_a_decision_goes_by_what_is_known_of_its_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(_log: Any) -> int:
        raise RedisError("gone")

    poll, log = open_poll(), get_log()
    monkeypatch.setattr(type(log), "clock", away)
    monkeypatch.setattr(clock, "now", lambda: 1_234.5)
    assert decisions.quarantine_new_ballots(poll, "A bot", ANN).since == 1_234_500


def test_nobody_looks_for_decisions_where_there_are_none(pauses: Any) -> None:
    poll = open_poll()
    fill(poll, range(20), 1)
    count()
    assert not Checkpoint.objects.filter(watch=True).exists()
    decision = decisions.quarantine_new_ballots(poll, "A bot", ANN)
    pauses()
    fill(poll, range(20, 40), 1)
    count()
    assert Checkpoint.objects.filter(watch=True).count() == Checkpoint.objects.count()
    decisions.release(decision.pk, ANN)
    fill(poll, range(40, 60), 1)
    count()
    assert not Checkpoint.objects.filter(watch=True).exists()
    assert both(poll) == (60, 0)


def test_a_decision_stands_for_open_polls_only() -> None:
    for poll in (make_poll(), close(open_poll())):
        with pytest.raises(IllegalState):
            decisions.quarantine_new_ballots(poll, "A bot", ANN)


# --- release ---


def test_a_release_goes_on_where_it_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "CHUNK", 3)
    poll = open_poll()
    aside(poll, range(10))
    count()
    decision = Quarantine.objects.get()
    monkeypatch.setattr(moves, "MOVE_SECONDS", 0)
    decisions.release(decision.pk, ANN)
    assert both(poll) == (3, 7)
    decision.refresh_from_db()
    assert decision.released_by == ANN
    moves.move_chunk_back(decision)
    assert both(poll) == (6, 4)
    monkeypatch.setattr(moves, "MOVE_SECONDS", 60)
    tasks.sweep()
    assert both(poll) == (10, 0)
    decision.refresh_from_db()
    assert decision.moved_at is not None
    decisions.release(decision.pk, "user bob")
    decision.refresh_from_db()
    assert decision.released_by == ANN


def test_only_its_own_ballots_are_released() -> None:
    poll = open_poll()
    ballots = fill(poll, range(10), 1)
    aside(poll, range(10, 14))
    count()
    mine = set_aside(poll, ballots[:3])
    assert both(poll) == (7, 7)
    decisions.release(mine.pk, ANN)
    assert both(poll) == (10, 4)
    assert Ballot.objects.filter(quarantine_id=None).count() == 10


def test_results_follow_and_published_ones_under_a_new_epoch() -> None:
    poll = open_poll()
    ballots = fill(poll, range(10), 1)
    fill(poll, range(10, 16), 2)
    poll = close(poll)
    decision = set_aside(poll, ballots[:6])
    result = Round.objects.get(poll=poll).result
    assert (result["ballots"], result["winners"], result["quarantined"]["ballots"]) == (10, [2], 6)
    lifecycle.publish_poll(poll.pk)
    epoch = Poll.objects.get(pk=poll.pk).epoch
    decisions.release(decision.pk, ANN)
    result = Round.objects.get(poll=poll).result
    assert (result["ballots"], result["winners"]) == (16, [1])
    assert "quarantined" not in result
    assert Poll.objects.get(pk=poll.pk).epoch > epoch


def test_results_of_earlier_rounds_follow_too() -> None:
    poll = open_poll()
    aside(poll, range(4), 2)
    fill(poll, range(4, 7), 1)
    close(poll)
    lifecycle.reset_poll(poll.pk)
    assert Round.objects.get(poll=poll, number=1).result["ballots"] == 3
    decisions.release(Quarantine.objects.get().pk, ANN)
    result = Round.objects.get(poll=poll, number=1).result
    assert (result["ballots"], result["winners"]) == (7, [2])


# --- what is shown ---


def test_the_document_says_what_is_set_aside_and_nothing_where_nothing_is() -> None:
    poll = open_poll()
    ballots = fill(poll, range(4), 1)
    count()
    assert "quarantined" not in figures(poll)
    aside(poll, range(4, 6), 2)
    count()
    decision = set_aside(poll, ballots[:1])
    document = figures(poll)
    assert (document["ballots"], document["choices"][0]["votes"]) == (3, 3)
    choices = [{"number": 1, "votes": 1}, {"number": 2, "votes": 2}, {"number": 3, "votes": 0}]
    assert document["quarantined"] == {"ballots": 3, "selections": 3, "choices": choices, "reasons": 2}
    decisions.release(decision.pk, ANN)
    assert figures(poll)["quarantined"]["reasons"] == 1
    assert "quarantined" not in documents.document(tallies.snapshot_of(poll.code), visible=False)


def test_every_change_has_a_stamp_of_its_own(pauses: Any) -> None:
    poll = open_poll()
    ballots = fill(poll, range(4), 1)
    count()
    stamps, bodies = [], []

    def look() -> None:
        stamps.append(tallies.snapshot_of(poll.code).stamp)
        bodies.append(documents.tally_json(figures(poll)))
        assert tallies.stamps([poll.pk])[poll.pk] == stamps[-1]
        assert tallies.newest(poll.pk).stamp == stamps[-1]

    look()
    decision = set_aside(poll, ballots[:2])
    look()
    standing = decisions.quarantine_new_ballots(poll, "A bot", ANN)
    look()
    decisions.release(standing.pk, ANN)
    look()
    decisions.release(decision.pk, ANN)
    look()
    assert stamps == sorted(set(stamps))
    assert len({*zip(stamps, bodies, strict=True)}) == len(stamps)


def test_who_decided_what_is_recorded(pauses: Any) -> None:
    poll = open_poll()
    ballots = fill(poll, range(4), 1)
    count()
    set_aside(poll, ballots[:2])
    standing = decisions.quarantine_new_ballots(poll, "A bot", ANN)
    pauses()
    decisions.end(standing.pk, ANN)
    decisions.release(standing.pk, "user bob")
    rows = Record.objects.filter(poll_code=poll.code, detail__has_key="quarantine").order_by("pk")
    assert list(rows.values_list("actor", "action")) == [
        (ANN, "ballots set aside"),
        (ANN, "further ballots set aside"),
        (ANN, "quarantine ended"),
        ("user bob", "quarantine released"),
    ]
