"""A vote log that was emptied, restored to an older copy or exchanged is rebuilt, on every backend."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from analytics.counting import batches, checkpoints
from analytics.health import status as health
from analytics.models import Checkpoint, Tally
from analytics.recovery import reconcile
from analytics.recovery.log_diagnosis import Damage, diagnose
from polls import lifecycle, votelog
from polls.errors import LogInconsistent, LogUnsuitable
from polls.models import Ballot, DeadLetter, Poll
from polls.votelog import get_log
from polls.votelog.admission import Gate
from tests.analytics.recovery.stores import (
    Voter,
    assert_as_before,
    client,
    copy_of,
    count_all,
    empty,
    figures,
    open_poll,
    repair,
    use,
    voted,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_emptied_log_is_rebuilt(backend: str) -> None:
    poll = open_poll()
    cast = voted(poll)
    empty(backend)
    votelog.forget_log()
    status, refused = Voter(poll).cast([1])
    assert (status, refused["code"]) == (503, "log_inconsistent")
    before = dict(Checkpoint.objects.values_list("partition", "position"))
    repair()
    assert all(head.position >= before[n] for n, head in get_log().heads().items())
    assert_as_before(poll, cast)


@pytest.mark.full_only
def test_a_log_in_the_format_of_another_version_is_rebuilt(settings: Any) -> None:
    use(settings, "redis")
    poll = open_poll()
    cast = voted(poll)
    with client() as store:
        for head in store.scan_iter("landslide:{*}:head"):
            store.hdel(head, "format")
    votelog.forget_log()
    status, refused = Voter(poll).cast([1])
    assert (status, refused["code"]) == (503, "log_inconsistent")
    repair()
    assert_as_before(poll, cast)


def test_an_older_copy_of_the_log_is_rebuilt(backend: str) -> None:
    poll = open_poll()
    cast = voted(poll, 6)
    put_back = copy_of(backend)
    cast += voted(poll, 24)
    put_back()
    votelog.forget_log()
    assert {finding.damage for finding in diagnose().damaged} == {Damage.BEHIND}
    repair()
    assert_as_before(poll, cast)


@pytest.mark.full_only
@pytest.mark.parametrize(
    ("was", "now"),
    [(("database", 1), ("redis", 4)), (("redis", 4), ("database", 1)), (("redis", 4), ("redis", 3))],
)
def test_another_backend_or_number_of_partitions_takes_over(settings: Any, was: Any, now: Any) -> None:
    use(settings, *was)
    poll = open_poll(revote=True)
    cast = voted(poll, 20)
    use(settings, *now)
    status, refused = Voter(poll).cast([1])
    assert (status, refused["code"]) == (503, "log_inconsistent")
    repair()
    assert Checkpoint.objects.count() == get_log().partitions
    assert set(Checkpoint.objects.values_list("log", flat=True)) == {now[0]}
    assert_as_before(poll, cast)
    # A voter whose partition has changed replaces a ballot, and the counters still add up.
    voter, answer = cast[0]
    status, _ = voter.cast([3], ballot_id=str(uuid.uuid4()), replaces=answer["ballot_id"])
    assert status == 202
    count_all()
    tally = figures(poll)
    assert sum(choice["votes"] for choice in tally["choices"]) == tally["ballots"] == Ballot.objects.count()
    # A server with the old settings is refused.
    use(settings, *was)
    assert Voter(poll).cast([1])[0] == 503


@pytest.mark.full_only
def test_only_the_broken_partition_is_rebuilt(settings: Any) -> None:
    use(settings, "redis")
    poll = open_poll()
    cast = voted(poll, 40)
    uncounted = voted(poll, 20, count=False)
    count = batches.count_partition(2)
    assert count
    with client() as store:
        store.delete(*store.scan_iter("landslide:{2}:*"))
    repair()
    count_all()
    assert figures(poll)["ballots"] == len(cast) + len(uncounted)
    assert_as_before(poll, cast)


@pytest.mark.full_only
def test_a_database_older_than_the_log_is_found_and_repaired(settings: Any) -> None:
    """Ballots that neither the restored database nor the log has are lost. All others are counted."""
    use(settings, "redis", 1)
    poll = open_poll()
    voted(poll, 10)
    head = get_log().heads()[0]
    get_log().trim(0, 8)
    voted(poll, 4, count=False)
    Ballot.objects.all().delete()
    Tally.objects.all().delete()
    Checkpoint.objects.update(position=3)
    votelog.forget_log()
    status, refused = Voter(poll).cast([1])
    assert (status, refused["code"]) == (503, "log_inconsistent")
    assert not health.log_status()["consistent"]
    with pytest.raises(LogUnsuitable, match="older than the vote log: up to 5 ballots"):
        checkpoints.verify()
    assert [finding.damage for finding in diagnose().findings] == [Damage.GAP]
    with pytest.raises(CommandError, match="up to 5 acknowledged ballots"):
        repair()
    repair(discard_uncounted=True)
    assert health.log_status()["consistent"]
    count_all()
    assert figures(poll)["ballots"] == 2 + 4
    assert get_log().heads()[0].generation == head.generation


@pytest.mark.full_only
def test_running_servers_notice_a_restored_older_database(settings: Any) -> None:
    """Servers compare the log with the database every second while ballots are cast."""
    use(settings, "redis", 1)
    poll = open_poll()
    voted(poll, 10)
    get_log().trim(0, 8)
    Checkpoint.objects.update(position=3)
    votelog.expected_heads(max_age=1e9)
    with pytest.raises(LogInconsistent):
        votelog.expected_heads(max_age=0)


def test_a_rebuilt_log_has_the_gate_of_every_state(backend: str) -> None:
    running, shut, again, draft = open_poll(), open_poll(), open_poll(), open_poll()
    for poll in (running, shut, again, draft):
        voted(poll, 3)
    lifecycle.close_poll(shut.pk)
    count_all()
    lifecycle.reset_poll(again.pk)
    lifecycle.open_poll(again.pk)
    lifecycle.reset_poll(draft.pk)
    second_round = voted(again, 2)
    closing = open_poll()
    voted(closing, 5)
    lifecycle.close_poll(closing.pk)

    empty(backend)
    votelog.forget_log()
    repair()

    def refused(poll: Poll, **fields: Any) -> str:
        status, answer = Voter(poll).cast([1], **fields)
        return answer["code"] if status != 202 else "accepted"

    assert refused(running) == "accepted"
    assert refused(shut) == refused(draft) == refused(closing) == "poll_not_open"
    assert refused(again, round=1) == "round_changed"
    assert refused(again, round=2) == "accepted"
    assert second_round[0][0].cast([2], ballot_id=str(uuid.uuid4()))[1]["code"] == "already_voted"
    count_all()  # writes the missing closing marker again
    count_all()
    assert figures(closing)["state"] == "closed"
    assert figures(closing)["ballots"] == 5


def test_a_rebuilt_log_settles_unknown_outcomes_of_closed_rounds(backend: str) -> None:
    poll = open_poll()
    cast = voted(poll, 3)
    lifecycle.close_poll(poll.pk)
    count_all()
    empty(backend)
    votelog.forget_log()
    repair()
    voter, answer = cast[1]
    assert voter.cast([2]) == (202, answer)
    assert voter.cast([3])[1]["code"] == "ballot_id_reused"


def test_a_rebuilt_log_has_the_claims_of_dead_letters(backend: str) -> None:
    poll = open_poll()
    cast = voted(poll, 4)
    voter, answer = cast[0]
    ballot = Ballot.objects.get(ballot_id=uuid.UUID(answer["ballot_id"]).bytes)
    DeadLetter.objects.create(
        partition=0, position=1, poll_id=poll.pk, round=1, voter_key=ballot.voter_key,
        ballot_id=ballot.ballot_id, selection=ballot.selection, reason="unknown_round",
    )  # fmt: skip
    Ballot.objects.filter(pk=ballot.pk).delete()
    empty(backend)
    votelog.forget_log()
    repair()
    assert voter.cast([1]) == (202, answer)
    assert voter.cast([2], ballot_id=str(uuid.uuid4()))[1]["code"] == "already_voted"


def test_nothing_is_accepted_while_claims_are_restored(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "_CHUNK", 5)
    poll = open_poll()
    cast = voted(poll, 12)
    other = open_poll()
    voted(other, 3)
    empty(backend)
    votelog.forget_log()
    answers = []

    def meanwhile(_restored: int) -> None:
        votelog.forget_log()
        answers.append(Voter(poll).cast([1])[1]["code"])
        if len(answers) == 1:
            lifecycle.close_poll(other.pk)

    reconcile.reconcile(diagnose(), restored=meanwhile)
    assert set(answers) == {"log_inconsistent"}
    assert len(answers) == 3
    votelog.forget_log()
    assert Voter(other).cast([1])[1]["code"] == "poll_not_open"
    assert_as_before(poll, cast)
    assert figures(other)["state"] == "closed"


def test_an_interrupted_run_can_be_repeated(backend: str) -> None:
    poll = open_poll()
    cast = voted(poll, 12)
    empty(backend)
    votelog.forget_log()

    def breaks_off(_restored: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconcile.reconcile(diagnose(), restored=breaks_off)
    votelog.forget_log()
    assert Voter(poll).cast([1])[1]["code"] == "log_inconsistent"
    repair()
    assert_as_before(poll, cast)


def test_the_second_of_two_runs_is_refused(backend: str) -> None:
    poll = open_poll()
    cast = voted(poll, 6)
    empty(backend)
    votelog.forget_log()
    slower = diagnose()
    repair()
    late = Voter(poll)
    assert late.cast([1])[0] == 202
    with pytest.raises(reconcile.ReconcileRefused):
        reconcile.reconcile(slower)
    count_all()
    assert figures(poll)["ballots"] == len(cast) + 1


def test_nothing_changes_without_an_answer(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    voted(open_poll(), 3)
    empty(backend)
    votelog.forget_log()
    monkeypatch.setattr("builtins.input", lambda _question: "")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("reconcile_log")
    assert diagnose().damaged


@pytest.mark.parametrize("turnout", [None, 250_000])
def test_a_rebuilt_gate_equals_the_original(turnout: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Gate] = []
    monkeypatch.setattr(type(get_log()), "open", lambda log, poll_id, gate: opened.append(gate))
    closes_at = timezone.now() + timedelta(hours=1)
    poll = open_poll(revote=True, closes_at=closes_at, expected_turnout=turnout)
    assert opened == [reconcile.gate_of(poll)]
    assert opened[0].expected == (turnout or 0)
