"""Quarantined ballots stay in the ledger and count in the second tally until they are released."""

from typing import Any

import msgspec
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


def cast_quarantined(poll: Poll, voters: range, *selection: int, rule: str = "over_limit") -> list[NewBallot]:
    ballots = [new_ballot(poll, voter, *(selection or [1]), quarantine_rule=rule) for voter in voters]
    assert {outcome.code for outcome in append(*ballots)} == {"accepted"}
    return ballots


def replace(poll: Poll, before: NewBallot, *selection: int, **fields: Any) -> NewBallot:
    voter = int.from_bytes(before.voter_key, "big")
    ballot = new_ballot(poll, voter, *selection, replaces=before.ballot_id, **fields)
    assert [outcome.code for outcome in append(ballot)] == ["accepted"]
    return ballot


def tally_sizes(poll: Poll) -> tuple[int, int]:
    """Return the number of ballots in the first tally and in the second."""
    books = check_books(poll)
    return books.get((poll.round, "ballots"), 0), books.get((poll.round, "quarantined:ballots"), 0)


def figures(poll: Poll) -> dict[str, Any]:
    return documents.document(tallies.snapshot_of(poll.code), visible=True)


def close(poll: Poll) -> Poll:
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    return Poll.objects.get(pk=poll.pk)


def quarantine(poll: Poll, ballots: list[NewBallot]) -> Quarantine:
    done = decisions.quarantine_receipts(poll, [receipt(poll, each) for each in ballots], "Sold votes", ANN)
    assert done.decision is not None
    return done.decision


# --- quarantine by a rule ---


def test_ballots_quarantined_by_a_rule_count_in_the_second_tally() -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    cast_quarantined(poll, range(10, 16), 2)
    fill(poll, range(16, 20), 1)
    count()
    assert check_books(poll) == {
        (1, "ballots"): 14, (1, "1"): 14, (1, "quarantined:ballots"): 6, (1, "quarantined:2"): 6,
    }  # fmt: skip
    decision = Quarantine.objects.get()
    assert (decision.rule, decision.decided_by, decision.round) == ("over_limit", BY_RULE, 1)
    assert decisions.count_ballots(decision) == 6


def test_a_rule_has_one_open_decision_per_round() -> None:
    poll, other = open_poll(), open_poll()
    for voter in range(6):
        cast_quarantined(poll, range(voter, voter + 1))
        cast_quarantined(other, range(voter, voter + 1))
        count()
    assert Quarantine.objects.count() == 2
    first = Quarantine.objects.get(poll_id=poll.pk)
    decisions.release(first.pk, ANN)
    assert tally_sizes(poll) == (6, 0)
    cast_quarantined(poll, range(10, 12))
    count()
    assert tally_sizes(poll) == (6, 2)
    assert Quarantine.objects.filter(poll_id=poll.pk).count() == 2


def test_a_voter_with_a_quarantined_ballot_has_no_second_ballot() -> None:
    poll = open_poll()
    (ballot,) = cast_quarantined(poll, range(1))
    assert append(ballot)[0].repeated
    (outcome,) = append(new_ballot(poll, 0, 2))
    assert outcome.code == "already_voted"
    count()
    assert tally_sizes(poll) == (0, 1)


def test_a_quarantined_dead_letter_counts_in_the_second_tally() -> None:
    poll = open_poll()
    cast_quarantined(poll, range(1), 77)
    count()
    letter = DeadLetter.objects.get(poll_id=poll.pk)
    rules = {"method": "single", "numbers": [1, 2, 3, 77], "least": 1, "most": 1}
    Round.objects.filter(poll_id=poll.pk).update(rules=rules)
    dead_letters.count_letter(letter.pk, "ann")
    assert tally_sizes(poll) == (0, 1)


# --- replaced ballots ---


@pytest.mark.parametrize("batch", [1, 1000])
def test_a_replacement_of_a_quarantined_ballot_is_quarantined(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    (first,) = cast_quarantined(poll, range(1), 1)
    replace(poll, first, 2)
    count()
    assert check_books(poll) == {(1, "quarantined:ballots"): 1, (1, "quarantined:2"): 1}


@pytest.mark.parametrize("batch", [1, 1000])
def test_a_quarantined_replacement_removes_the_ballot_it_replaces(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll(revote=True)
    (first,) = fill(poll, range(1), 1)
    second = replace(poll, first, 2, quarantine_rule="over_limit")
    replace(poll, second, 3)
    count()
    assert check_books(poll) == {(1, "quarantined:ballots"): 1, (1, "quarantined:3"): 1}


def test_a_replacement_of_a_released_ballot_counts() -> None:
    poll = open_poll(revote=True)
    (first,) = cast_quarantined(poll, range(1), 1)
    count()
    decisions.release(Quarantine.objects.get().pk, ANN)
    replace(poll, first, 2)
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}


# --- quarantine by receipts ---


def test_ballots_are_quarantined_by_their_receipts() -> None:
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
    assert tally_sizes(poll) == (15, 5)
    assert version(poll) > before
    assert receipt_status(given[0])["status"] == "quarantined"
    again = decisions.quarantine_receipts(poll, given[:5], "Sold", ANN)
    assert (again.decision, again.ballots, again.already) == (None, 0, 5)
    count()
    assert (tally_sizes(poll), tally_sizes(other)) == ((17, 5), (1, 0))


def test_a_replaced_receipt_stands_for_the_replacement() -> None:
    poll = open_poll(revote=True)
    ballots = fill(poll, range(3), 1)
    replace(poll, ballots[0], 2)
    count()
    quarantine(poll, ballots[:1])
    assert check_books(poll) == {
        (1, "ballots"): 2, (1, "1"): 2, (1, "quarantined:ballots"): 1, (1, "quarantined:2"): 1,
    }  # fmt: skip


def test_a_decision_needs_a_reason() -> None:
    poll = open_poll()
    for attempt in (
        lambda: decisions.quarantine_receipts(poll, [], " ", ANN),
        lambda: decisions.quarantine_new_ballots(poll, "", ANN),
    ):
        with pytest.raises(Malformed):
            attempt()


# --- quarantine of new ballots ---


def test_new_ballots_are_quarantined_until_the_decision_ends(pauses: Any) -> None:
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
    assert tally_sizes(poll) == (8, 7)
    assert tally_sizes(other) == (5, 0)
    with pytest.raises(IllegalState):
        decisions.end(decision.pk, ANN)
    decisions.release(decision.pk, ANN)
    assert tally_sizes(poll) == (15, 0)


@pytest.mark.usefixtures("wrong_clock")
def test_new_ballots_are_quarantined_by_the_clock_of_the_vote_log(pauses: Any) -> None:
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
    assert tally_sizes(poll) == (8, 7)


@pytest.mark.usefixtures("wrong_clock")
def test_moves_and_corrections_enter_the_history_by_the_clock_of_the_vote_log() -> None:
    poll, steps = open_poll(), open_poll(release_step=2)
    before = get_log().clock() // 1000
    ballots = fill(poll, range(5), 1)
    fill(steps, range(2), 1)
    count()
    fill(steps, range(2, 6), 1)  # now the first step is shown
    count()
    decisions.release(quarantine(poll, ballots[:2]).pk, ANN)
    Tally.objects.filter(poll_id=poll.pk, key="1").update(count=F("count") + 1)
    TallyPoint.objects.filter(poll_id=poll.pk, key="1").update(count=F("count") + 1)
    recount.fix(recount.get_round(poll), by=ANN)
    after = get_log().clock() // 1000
    assert tally_sizes(poll) == (5, 0)
    assert set(TallyPoint.objects.values_list("poll_id", flat=True)) == {poll.pk, steps.pk}
    seconds = TallyPoint.objects.values_list("second", flat=True)
    assert set(seconds) <= set(range(before, after + 1))


def test_without_the_log_a_decision_uses_the_known_clock_offset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(_log: Any) -> int:
        raise RedisError("gone")

    poll, log = open_poll(), get_log()
    monkeypatch.setattr(type(log), "clock", away)
    monkeypatch.setattr(clock, "now", lambda: 1_234.5)
    assert decisions.quarantine_new_ballots(poll, "A bot", ANN).since == 1_234_500


def test_counting_looks_for_decisions_only_while_there_are_some(pauses: Any) -> None:
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
    assert tally_sizes(poll) == (60, 0)


def test_new_ballots_can_be_quarantined_only_in_open_polls() -> None:
    for poll in (make_poll(), close(open_poll())):
        with pytest.raises(IllegalState):
            decisions.quarantine_new_ballots(poll, "A bot", ANN)


# --- release ---


def test_an_interrupted_release_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "CHUNK", 3)
    poll = open_poll()
    cast_quarantined(poll, range(10))
    count()
    decision = Quarantine.objects.get()
    monkeypatch.setattr(moves, "MOVE_SECONDS", 0)
    decisions.release(decision.pk, ANN)
    assert tally_sizes(poll) == (3, 7)
    decision.refresh_from_db()
    assert decision.released_by == ANN
    moves.move_chunk_back(decision)
    assert tally_sizes(poll) == (6, 4)
    monkeypatch.setattr(moves, "MOVE_SECONDS", 60)
    tasks.sweep()
    assert tally_sizes(poll) == (10, 0)
    decision.refresh_from_db()
    assert decision.moved_at is not None
    decisions.release(decision.pk, "user bob")
    decision.refresh_from_db()
    assert decision.released_by == ANN


def test_a_release_moves_only_the_ballots_of_its_decision() -> None:
    poll = open_poll()
    ballots = fill(poll, range(10), 1)
    cast_quarantined(poll, range(10, 14))
    count()
    mine = quarantine(poll, ballots[:3])
    assert tally_sizes(poll) == (7, 7)
    decisions.release(mine.pk, ANN)
    assert tally_sizes(poll) == (10, 4)
    assert Ballot.objects.filter(quarantine_id=None).count() == 10


def test_a_release_changes_the_result_and_the_epoch_of_a_published_one() -> None:
    poll = open_poll()
    ballots = fill(poll, range(10), 1)
    fill(poll, range(10, 16), 2)
    poll = close(poll)
    decision = quarantine(poll, ballots[:6])
    result = Round.objects.get(poll=poll).result
    assert (result["ballots"], result["winners"], result["quarantined"]["ballots"]) == (10, [2], 6)
    lifecycle.publish_poll(poll.pk)
    epoch = Poll.objects.get(pk=poll.pk).epoch
    decisions.release(decision.pk, ANN)
    result = Round.objects.get(poll=poll).result
    assert (result["ballots"], result["winners"]) == (16, [1])
    assert "quarantined" not in result
    assert Poll.objects.get(pk=poll.pk).epoch > epoch


def test_a_release_changes_the_result_of_an_earlier_round() -> None:
    poll = open_poll()
    cast_quarantined(poll, range(4), 2)
    fill(poll, range(4, 7), 1)
    close(poll)
    lifecycle.reset_poll(poll.pk)
    assert Round.objects.get(poll=poll, number=1).result["ballots"] == 3
    decisions.release(Quarantine.objects.get().pk, ANN)
    result = Round.objects.get(poll=poll, number=1).result
    assert (result["ballots"], result["winners"]) == (7, [2])


# --- documents and records ---


def test_the_document_has_the_second_tally_only_while_there_is_one() -> None:
    poll = open_poll()
    ballots = fill(poll, range(4), 1)
    count()
    assert "quarantined" not in figures(poll)
    cast_quarantined(poll, range(4, 6), 2)
    count()
    decision = quarantine(poll, ballots[:1])
    document = figures(poll)
    assert (document["ballots"], document["choices"][0]["votes"]) == (3, 3)
    choices = [{"number": 1, "votes": 1}, {"number": 2, "votes": 2}, {"number": 3, "votes": 0}]
    assert document["quarantined"] == {"ballots": 3, "selections": 3, "choices": choices, "reasons": 2}
    decisions.release(decision.pk, ANN)
    assert figures(poll)["quarantined"]["reasons"] == 1
    assert "quarantined" not in documents.document(tallies.snapshot_of(poll.code), visible=False)


def test_every_change_has_its_own_stamp(pauses: Any) -> None:
    poll = open_poll()
    ballots = fill(poll, range(4), 1)
    count()
    stamps, bodies = [], []

    def look() -> None:
        stamps.append(tallies.snapshot_of(poll.code).stamp)
        bodies.append(msgspec.json.encode(figures(poll)))
        assert tallies.stamps([poll.pk])[poll.pk] == stamps[-1]
        assert tallies.newest(poll.pk).stamp == stamps[-1]

    look()
    decision = quarantine(poll, ballots[:2])
    look()
    standing = decisions.quarantine_new_ballots(poll, "A bot", ANN)
    look()
    decisions.release(standing.pk, ANN)
    look()
    decisions.release(decision.pk, ANN)
    look()
    assert stamps == sorted(set(stamps))
    assert len({*zip(stamps, bodies, strict=True)}) == len(stamps)


def test_decisions_are_recorded(pauses: Any) -> None:
    poll = open_poll()
    ballots = fill(poll, range(4), 1)
    count()
    quarantine(poll, ballots[:2])
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
