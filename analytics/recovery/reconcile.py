"""Reconcile the vote log with the database: rebuild the gates and claims that the log has lost.

A log that was emptied, replaced or restored to an older copy has lost gates and claims, and its positions may
be behind the checkpoints. Damaged partitions are rebuilt from the database under a new generation. The
checkpoints name the old generation until the last step. Before the last step every append is refused and
nothing is counted, so after a crash anywhere the next run can start over.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from analytics.counting import checkpoints, held_ballots
from analytics.health import heartbeats
from analytics.models import Checkpoint, HeldBlock
from analytics.recovery.log_diagnosis import Damage, Plan, count_uncounted, log_of
from polls.errors import LandslideError
from polls.models import Ballot, DeadLetter, Poll, Round, State
from polls.votelog import get_log
from polls.votelog.admission import Gate
from polls.votelog.contract import VoteLog
from polls.votelog.entries import Head, partition_of

_CHUNK = 5000  # ballots per query
_HELD_CHUNK = 50  # blocks per query, of up to 1,000 ballots each

ClaimRow = tuple[int, int, bytes, bytes, str]  # the columns that VoteLog.restore_claims takes


class ReconcileRefused(LandslideError):
    code = "reconcile_refused"
    status = 409
    title = _("The vote log can't be reconciled now")


@dataclass(frozen=True, slots=True)
class Restored:
    claims: int
    gates: int
    stragglers: int  # ballots that a server with the old settings accepted into the old log


def reconcile(
    plan: Plan, *, discard_uncounted: bool = False, restored: Callable[[int], None] | None = None
) -> Restored:
    """Carry out the plan. `restored` is called with the number of claims after each chunk.

    Raise ReconcileRefused if acknowledged ballots would be lost, or if somebody else has reconciled the log.
    """
    _check_allowed(plan, discard_uncounted)
    log = get_log()
    heads = {f.partition: Head(checkpoints.new_generation(), f.position) for f in plan.findings if f.rebuilt}
    with _locked_checkpoints(plan):
        polls = list(Poll.objects.all())
        gates = {poll.pk: gate_of(poll) for poll in polls}
        for partition, head in heads.items():
            log.rebuild(partition, head, gates)
    claims = 0
    for rows in _claims() if heads else ():
        claims += _restore_claims(log, rows, set(heads))
        if restored:
            restored(len(rows))
    if heads:
        _apply_later_changes(log, {poll.pk: poll.revision for poll in polls})
    with _locked_checkpoints(plan) as rows_held:
        # The log's only new entries are markers of closing polls, since every ballot was refused.
        found = {partition: head.generation for partition, head in log.heads().items()}
        if any(found.get(partition) != head.generation for partition, head in heads.items()):
            raise ReconcileRefused(_("The vote log changed while it was rebuilt; run it again."))
        _write_checkpoints(plan, log, heads)
    stragglers = _shut_old_log(rows_held, log, plan.uncounted) if plan.log_changed else 0
    return Restored(claims, len(gates) if heads else 0, stragglers)


def claims_to_restore() -> int:
    return Ballot.objects.count() + _uncounted_letters().count() + held_ballots.count_ballots()


def gate_of(poll: Poll) -> Gate:
    """Return the gate that a poll in this state needs."""
    closes_at = int(poll.closes_at.timestamp() * 1000) if poll.closes_at else 0
    rules: dict[str, Any] = {
        "revote": poll.revote,
        "closes_at": closes_at,
        "expected": poll.expected_turnout or 0,
    }
    if poll.state == State.OPEN:
        return Gate(poll.round, open=True, **rules)
    if poll.state == State.CLOSING:
        # Leave out closed_at, so that closing the poll again writes a marker that can be counted.
        return Gate(poll.round, **rules)
    if poll.state == State.DRAFT or poll.closed_at is None:
        return Gate(poll.round)
    closed_at = int(poll.closed_at.timestamp() * 1000)
    return Gate(poll.round, closed_at=closed_at, **rules)


def _check_allowed(plan: Plan, discard_uncounted: bool) -> None:
    if plan.log_changed and (alive := [worker["name"] for worker in heartbeats.workers() if worker["alive"]]):
        raise ReconcileRefused(
            _("Stop all servers and workers first: they run with the old settings. Seen just now: %(names)s.")
            % {"names": ", ".join(alive)}
        )
    if discard_uncounted:
        return
    if plan.missing:
        raise ReconcileRefused(
            _(
                "The database is older than the vote log: up to %(n)s acknowledged ballots were counted only"
                " in a newer copy of the database. The log no longer has them, so they would be lost."
            )
            % {"n": plan.missing},
            missing=plan.missing,
        )
    if plan.uncounted == 0:
        return
    if plan.uncounted is None:
        raise ReconcileRefused(
            _("The old vote log (%(was)s) can't be read. It may hold ballots that are not counted.")
            % {"was": plan.was},
            uncounted=None,
        )
    raise ReconcileRefused(
        _("%(n)s acknowledged ballots in the old vote log are not counted and would be lost.")
        % {"n": plan.uncounted},
        uncounted=plan.uncounted,
    )


@contextmanager
def _locked_checkpoints(plan: Plan) -> Iterator[list[Checkpoint]]:
    """Lock all checkpoints in a transaction. Raise ReconcileRefused if they differ from the plan."""
    with transaction.atomic():
        rows = checkpoints.lock_all_checkpoints()
        if {row.partition: row.generation for row in rows} != plan.generations:
            raise ReconcileRefused(_("Somebody else has reconciled the vote log in the meantime."))
        yield rows


def _uncounted_letters() -> QuerySet[DeadLetter]:
    """Select waiting and rejected dead letters. Their voters have claims, but no counted ballots."""
    return DeadLetter.objects.exclude(status=DeadLetter.Status.COUNTED)


def _claims() -> Iterator[list[ClaimRow]]:
    """Yield all claims in chunks, ordered so that a voter's current claim comes last."""
    # After a purge the voter keys are meaningless, and nobody votes again in a purged round.
    purged = set(Round.objects.filter(purged_at__isnull=False).values_list("poll_id", "number"))
    last = 0
    fields = ("pk", "poll_id", "round", "voter_key", "ballot_id", "selection")
    while letters := list(
        _uncounted_letters().filter(pk__gt=last).order_by("pk").values_list(*fields)[:_CHUNK]
    ):
        last = letters[-1][0]
        yield [_claim_row(*letter[1:]) for letter in letters if letter[1:3] not in purged]
    voter: tuple[int, int, bytes] = (0, 0, b"")
    while ballots := _ledger_after(voter):
        voter = ballots[-1][:3]
        yield [ballot for ballot in ballots if ballot[:2] not in purged]
    # Held ballots come after the ledger, since a held ballot may replace a counted ballot.
    last = 0
    while held := list(HeldBlock.objects.filter(pk__gt=last).order_by("pk")[:_HELD_CHUNK]):
        last = held[-1].pk
        yield [
            (entry.poll_id, entry.round, entry.voter_key, entry.ballot_id, entry.selection)
            for row in held
            for entry in held_ballots.unpack(row).entries()
        ]


def _ledger_after(voter: tuple[int, int, bytes]) -> list[ClaimRow]:
    # SQL compares rows, since SQLite would scan from the start each time for the ORM's OR of columns.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT poll_id, round, voter_key, ballot_id, selection FROM polls_ballot"
            " WHERE (poll_id, round, voter_key) > (%s, %s, %s)"
            " ORDER BY poll_id, round, voter_key LIMIT %s",
            [*voter, _CHUNK],
        )
        return [_claim_row(*row) for row in cursor.fetchall()]


def _claim_row(poll_id: int, round_: int, voter_key: bytes, ballot_id: bytes, selection: str) -> ClaimRow:
    return poll_id, round_, bytes(voter_key), bytes(ballot_id), selection


def _restore_claims(log: VoteLog, rows: Sequence[ClaimRow], partitions: set[int]) -> int:
    by_partition: dict[int, list[ClaimRow]] = defaultdict(list)
    for row in rows:
        partition = partition_of(row[0], row[2], log.partitions)
        if partition in partitions:
            by_partition[partition].append(row)
    for partition, claims in by_partition.items():
        log.restore_claims(partition, claims)
    return sum(map(len, by_partition.values()))


def _apply_later_changes(log: VoteLog, revisions: dict[int, int]) -> None:
    """Set the gates of polls that changed during the rebuild, which may have written their old gates."""
    for poll in Poll.objects.all():
        if revisions.get(poll.pk) == poll.revision:
            continue
        if poll.state == State.OPEN:
            log.open(poll.pk, gate_of(poll))
        elif poll.state == State.DRAFT:
            log.reset(poll.pk, poll.round)
        else:
            log.close(poll.pk, poll.round)


def _write_checkpoints(plan: Plan, log: VoteLog, heads: dict[int, Head]) -> None:
    for finding in plan.findings:
        if finding.damage is Damage.GAP:
            Checkpoint.objects.filter(partition=finding.partition).update(position=finding.position)
    for partition, head in heads.items():
        Checkpoint.objects.update_or_create(
            partition=partition,
            defaults={
                "log": log.name,
                "generation": head.generation,
                "made": True,
                "position": head.position,
                "trim_to": 0,
                "trim_noted_at": None,
            },
        )
    Checkpoint.objects.filter(partition__gte=log.partitions).delete()


def _shut_old_log(rows: Sequence[Checkpoint], log: VoteLog, uncounted: int | None) -> int:
    """Make the old log refuse further ballots. Return how many it has accepted since the plan.

    The old log is kept as it is if it has accepted such ballots, or if it can't be read.
    """
    late = (count_uncounted(rows) or 0) - (uncounted or 0)
    if late > 0 or uncounted is None:
        return max(late, 0)
    old = log_of(rows)
    for row in rows:
        if old.name != log.name or row.partition >= log.partitions:
            old.rebuild(row.partition, Head(checkpoints.new_generation(), row.position), {})
    return 0
