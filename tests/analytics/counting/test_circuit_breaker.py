"""Counting halts for a poll whose ballots mostly fail. No ballot is lost, reordered or counted twice."""

import logging
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics import tasks
from analytics.counting import batches, circuit_breaker, closing, held_ballots, resuming
from analytics.health import metrics
from analytics.models import Checkpoint, Halt, HeldBlock
from analytics.recovery import reconcile
from analytics.recovery.log_diagnosis import diagnose
from polls import lifecycle
from polls.casting.receipts import make_receipt, receipt_status
from polls.errors import IllegalState
from polls.models import Ballot, DeadLetter, Poll, Record, Round, State
from polls.votelog import get_log
from polls.votelog.admission import Outcome
from polls.votelog.entries import Block, Head
from tests.factories import append, check_books, count, fill, new_ballot, open_poll, revote

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log")]


def broken(**fields: Any) -> Poll:
    """Open a poll whose round has lost its rules."""
    poll = open_poll(**fields)
    Round.objects.filter(poll=poll).update(rules={"method": "single", "numbers": [], "least": 1, "most": 1})
    return poll


def repair(poll: Poll) -> None:
    rules = {"method": "single", "numbers": [1, 2, 3], "least": 1, "most": 1}
    Round.objects.filter(poll=poll).update(rules=rules)


def ballots_in(table: Any, poll: Poll) -> int:
    return int(table.objects.filter(poll_id=poll.pk).count())


def test_a_failing_poll_halts_and_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    poll, other = broken(), open_poll()
    fill(poll, range(60), 1)
    fill(other, range(30), 1)
    with caplog.at_level(logging.ERROR):
        count()
    assert Halt.objects.get().poll_id == poll.pk
    assert "invalid_selection" in Halt.objects.get().reason
    assert ballots_in(DeadLetter, poll) + held_ballots.count_ballots(poll.pk) == 60
    assert ballots_in(DeadLetter, poll) < 2 * circuit_breaker.MIN_FAILURES
    assert "counting_halted" in {record.message for record in caplog.records}
    assert check_books(other)[1, "ballots"] == 30
    assert "landslide_halted_polls 1" in metrics.render()
    assert f"landslide_held_ballots {held_ballots.count_ballots()}" in metrics.render()
    row = Record.objects.get(action="counting halted")
    assert (row.actor, row.poll_code) == ("counting", poll.code)


def test_a_few_failures_become_dead_letters() -> None:
    poll = open_poll()
    for start in range(0, 400, 100):
        voters = range(start, start + 100)
        append(*(new_ballot(poll, voter, 77 if voter % 10 == 0 else 1) for voter in voters))
        count()
    assert not Halt.objects.exists()
    assert ballots_in(DeadLetter, poll) == 40
    assert check_books(poll)[1, "ballots"] == 360


def test_fewer_than_ten_failures_do_not_halt_a_poll() -> None:
    poll = broken()
    fill(poll, range(circuit_breaker.MIN_FAILURES - 1), 1)
    count()
    assert not Halt.objects.exists()
    assert ballots_in(DeadLetter, poll) == circuit_breaker.MIN_FAILURES - 1


def test_failures_in_many_small_batches_halt_a_poll(settings: Any) -> None:
    settings.COUNT_BATCH = 1
    poll = open_poll()
    fill(poll, range(20), 1)
    count()
    Round.objects.filter(poll=poll).update(rules={"method": "lost"})
    append(*(new_ballot(poll, voter, 88) for voter in range(100, 220)))
    count()
    assert Halt.objects.filter(poll_id=poll.pk).exists()
    assert ballots_in(DeadLetter, poll) + held_ballots.count_ballots(poll.pk) == 120
    assert held_ballots.count_ballots(poll.pk) > 50


def test_ballots_of_a_deleted_poll_become_dead_letters() -> None:
    poll = open_poll()
    fill(poll, range(30), 1)
    Round.objects.filter(poll=poll).delete()
    Poll.objects.filter(pk=poll.pk).delete()
    count()
    assert not Halt.objects.exists()
    assert ballots_in(DeadLetter, poll) == 30


def test_a_halted_poll_holds_good_ballots_too_and_keeps_their_order() -> None:
    poll = broken(revote=True)
    ballots = fill(poll, range(40), 1)
    count()
    halted = held_ballots.count_ballots(poll.pk)
    repair(poll)
    later = [revote(poll, each, 2) for each in ballots[:10]]
    fill(poll, range(100, 105), 3)
    count()
    assert not Ballot.objects.filter(poll_id=poll.pk).exists()
    assert held_ballots.count_ballots(poll.pk) == halted + 15
    for each in (ballots[20], later[0]):
        assert (
            receipt_status(make_receipt(poll.pk, 1, each.voter_key, each.ballot_id))["status"] == "accepted"
        )
    assert resuming.resume(poll, "user ann")
    assert not Halt.objects.exists()
    assert not HeldBlock.objects.exists()
    assert Ballot.objects.filter(poll_id=poll.pk, selection="2").count() == 10
    check_books(poll)
    everybody = Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key", flat=True)
    failed = DeadLetter.objects.filter(poll_id=poll.pk).values_list("voter_key", flat=True)
    assert len({bytes(key) for key in (*everybody, *failed)}) == 45
    fill(poll, range(200, 240), 3)
    count()
    assert Ballot.objects.filter(poll_id=poll.pk, selection="3").count() == 45
    assert not Checkpoint.objects.filter(watch=True).exists()


def test_resuming_halts_again_until_the_cause_is_repaired() -> None:
    poll = broken()
    fill(poll, range(60), 1)
    count()
    held = held_ballots.count_ballots(poll.pk)
    assert not resuming.resume(poll, "user ann")
    assert held_ballots.count_ballots(poll.pk) == held
    assert Halt.objects.get().resumed_by == ""
    with pytest.raises(CommandError, match="halted again"):
        call_command("resume_counting", poll.code.lower())
    repair(poll)
    call_command("resume_counting", poll.code)
    assert check_books(poll)[1, "ballots"] == held
    with pytest.raises(CommandError, match="isn't halted"):
        call_command("resume_counting", poll.code)
    with pytest.raises(CommandError, match="no poll"):
        call_command("resume_counting", "NOSUCH")


def test_failures_become_dead_letters_if_an_operator_decides_so() -> None:
    poll = broken()
    fill(poll, range(60), 1)
    count()
    assert resuming.resume(poll, "user ann", let_fail=True)
    assert ballots_in(DeadLetter, poll) == 60
    assert not HeldBlock.objects.exists()
    row = Record.objects.get(action="counting resumed")
    assert (row.actor, row.detail["let_fail"]) == ("user ann", True)


def test_the_sweep_continues_what_was_resumed(settings: Any) -> None:
    poll = broken()
    for start in range(0, 60, 6):
        fill(poll, range(start, start + 6), 1)
    count()
    held = held_ballots.count_ballots(poll.pk)
    repair(poll)
    settings.COUNT_BATCH = 7
    assert not resuming.resume(poll, "user ann", seconds=0)
    assert not Ballot.objects.filter(poll_id=poll.pk).exists()
    tasks.sweep()
    assert check_books(poll)[1, "ballots"] == held
    assert not Halt.objects.exists()


def test_a_crash_while_resuming_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = broken()
    fill(poll, range(60), 1)
    count()
    held = held_ballots.count_ballots(poll.pk)
    repair(poll)

    def die(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("analytics.counting.tally_deltas.add", die)
        with pytest.raises(MemoryError):
            resuming.resume(poll, "user ann")
    assert held_ballots.count_ballots(poll.pk) == held
    assert resuming.resume(poll, "user ann")
    assert check_books(poll)[1, "ballots"] == held


def test_a_crash_while_halting_holds_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = broken()
    fill(poll, range(60), 1)

    def die(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(batches, "_move_checkpoint", die)
        with pytest.raises(MemoryError):
            count()
    assert not HeldBlock.objects.exists()
    count()
    assert ballots_in(DeadLetter, poll) + held_ballots.count_ballots(poll.pk) == 60


def test_a_poll_does_not_close_while_ballots_are_held() -> None:
    poll = broken()
    fill(poll, range(60), 1)
    count()
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    assert Poll.objects.get(pk=poll.pk).state == State.CLOSING
    repair(poll)
    held = held_ballots.count_ballots(poll.pk)
    assert resuming.resume(poll, "user ann")
    assert Poll.objects.get(pk=poll.pk).state == State.CLOSED
    assert Round.objects.get(poll=poll).result["ballots"] == held


def test_only_a_halted_poll_can_be_resumed() -> None:
    with pytest.raises(IllegalState):
        resuming.resume(open_poll(), "user ann")


def test_a_held_block_is_unpacked_as_it_was() -> None:
    poll = open_poll()
    keys = [bytes([n]) * 16 for n in range(3)]
    odd = ["1", "\udcff\0x", "2,3"]
    for replaces in (None, [None, keys[0], None]):
        block = Block(17, "ballot", poll.pk, 1, 1234, keys, keys[::-1], odd, replaces, "over_limit")
        HeldBlock.objects.all().delete()
        held_ballots.hold(0, [block])
        assert held_ballots.unpack(HeldBlock.objects.get()) == block


def test_a_rebuilt_log_has_the_claims_of_held_ballots() -> None:
    poll = broken(revote=True)
    ballots = fill(poll, range(60), 1)
    count()
    later = revote(poll, ballots[40], 2)
    count()
    log = get_log()
    for partition in range(log.partitions):
        log.rebuild(partition, Head("another log", 0), {})
    assert reconcile.claims_to_restore() == 61
    reconcile.reconcile(diagnose())
    assert append(new_ballot(poll, 30, 2)) == [Outcome("already_voted")]
    assert append(new_ballot(poll, 40, 3, replaces=ballots[40].ballot_id)) == [Outcome("already_voted")]
    for each in (ballots[30], later):
        receipt = make_receipt(poll.pk, 1, each.voter_key, each.ballot_id)
        assert receipt_status(receipt)["status"] == "accepted"
    repair(poll)
    assert resuming.resume(poll, "user ann")
    assert Ballot.objects.filter(poll_id=poll.pk, selection="2").count() == 1


def test_holding_ballots_moves_the_checkpoint() -> None:
    """Then the log can still be trimmed, and backlog and readiness aren't affected."""
    poll = broken()
    fill(poll, range(60), 1)
    count()
    heads = get_log().heads()
    assert {row.partition: row.position for row in Checkpoint.objects.all()} == {
        partition: head.position for partition, head in heads.items()
    }
