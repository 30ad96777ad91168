"""Setting ballots aside into the second tally, and releasing them.

A decision says by whom or what, and why. Its ballots keep their place in the ledger, which stays the only
one of their voters, and are counted apart; released, they count again. Whoever moves ballots holds the
checkpoints of all partitions meanwhile, so that nobody counts, and every slot has one writer.

What a voter does changes nothing: a ballot that takes the place of one that was set aside is set aside too.

Nobody learns from the two tallies what single ballots mark: fewer than secrecy.least() are neither set aside
by their receipts nor released into a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.counting.checkpoints import lock_all_checkpoints
from analytics.models import Checkpoint, Quarantine
from analytics.quarantine import disclosure_control, moves
from analytics.quarantine.moves import QuarantineOutcome
from polls import lifecycle
from polls.audit_log import record
from polls.casting.receipts import open_receipt
from polls.errors import IllegalState, Malformed, QuarantineNotFound, ReceiptNotFound
from polls.models import Ballot, Poll, State
from polls.votelog import store_clock

#: Receipts a decision: counting waits until the last of their ballots is moved.
MAX_RECEIPTS = 100_000


def quarantine_receipts(poll: Poll, receipts: Iterable[str], reason: str, by: str) -> QuarantineOutcome:
    """Set aside the ballots of these receipts' voters, in the poll's current round.

    A receipt whose ballot its voter has replaced since stands for the one that took its place. All or none,
    in one transaction: a part of them in between would show what few ballots mark.
    """
    done, given = QuarantineOutcome(), list(islice(receipts, MAX_RECEIPTS + 1))
    if len(given) > MAX_RECEIPTS:
        raise Malformed(
            _("A decision takes at most %(most)s receipts: divide the list, and set its parts aside in turn.")
            % {"most": f"{MAX_RECEIPTS:,}"}
        )
    reason, voters = _reason(reason), list(_open_receipts(poll, given, done))
    with transaction.atomic():
        lock_all_checkpoints()
        cells = disclosure_control.cells_to_move(poll, voters, done)
        if cells:
            done.decision = _decide(poll, reason, by)
            moves.quarantine(poll, voters, cells, done)
            detail = {"reason": reason, "ballots": done.ballots, "round": poll.round}
            record(by, "ballots set aside", poll.code, quarantine=done.decision.pk, **detail)
    if done.decision:
        moves.announce(poll.pk)
    return done


def quarantine_new_ballots(poll: Poll, reason: str, by: str) -> Quarantine:
    """Set aside every ballot of an open poll that is accepted from now on, until it is ended or released."""
    with transaction.atomic():
        lock_all_checkpoints()
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        if locked.state != State.OPEN:
            raise IllegalState(_("Only of an open poll can all further ballots be set aside."))
        decision = _decide(locked, _reason(reason), by, since=store_clock())
        Checkpoint.objects.update(watch=True)
        lifecycle.bump_revision(poll.pk)
        record(by, "further ballots set aside", poll.code, quarantine=decision.pk, reason=reason)
    moves.announce(poll.pk)
    return decision


def end(decision_id: int, by: str) -> Quarantine:
    """What is accepted from now on is counted again; what was set aside stays so."""
    with transaction.atomic():
        lock_all_checkpoints()
        decision = _lock(decision_id)
        if decision.since is None or decision.until is not None or decision.released_at:
            raise IllegalState(_("This decision doesn't take in any further ballots."))
        decision.until = store_clock()
        decision.save(update_fields=["until"])
        record(by, "quarantine ended", _poll_code(decision), quarantine=decision.pk)
    moves.announce(decision.poll_id)
    return decision


def release(decision_id: int, by: str, progress: Callable[[int], None] | None = None) -> Quarantine:
    """Count a decision's ballots again; what isn't moved back in time, the sweep moves. Safe to repeat."""
    with transaction.atomic():
        lock_all_checkpoints()
        # The poll before the decision, as a purge locks them. So it doesn't close between check and move.
        of_decision = Quarantine.objects.filter(pk=decision_id).values("poll_id")
        poll = Poll.objects.select_for_update().filter(pk__in=of_decision).first()
        decision = _lock(decision_id)
        if decision.released_at is None:
            disclosure_control.check_release(poll, decision)
            decision.released_at, decision.released_by = timezone.now(), by
            decision.save(update_fields=["released_at", "released_by"])
            lifecycle.bump_revision(decision.poll_id)
            moved = moves.move_chunk_back(decision)
            if progress:
                progress(moved)
            record(by, "quarantine released", _poll_code(decision), quarantine=decision.pk)
    moves.announce(decision.poll_id)
    moves.move_back(decision, progress=progress)
    return decision


def count_ballots(decision: Quarantine) -> int:
    """How many ballots a decision keeps apart now."""
    return Ballot.objects.filter(quarantine_id=decision.pk).count()


def _open_receipts(poll: Poll, receipts: Iterable[str], done: QuarantineOutcome) -> Iterator[bytes]:
    seen = set()
    for receipt in receipts:
        try:
            sealed = open_receipt(receipt)
        except ReceiptNotFound:
            done.unknown += 1
            continue
        if (sealed.poll_id, sealed.round) != (poll.pk, poll.round):
            done.unknown += 1
        elif sealed.voter_key not in seen:
            seen.add(sealed.voter_key)
            yield sealed.voter_key


def _decide(poll: Poll, reason: str, by: str, since: int | None = None) -> Quarantine:
    return Quarantine.objects.create(
        poll_id=poll.pk,
        round=poll.round,
        rule=Quarantine.Rule.OPERATOR,
        reason=reason,
        decided_by=by[:200],
        since=since,
    )


def _reason(text: str) -> str:
    if not text.strip():
        raise Malformed(_("Say why: the reason stays with the ballots."))
    return text.strip()


def _lock(decision_id: int) -> Quarantine:
    decision = Quarantine.objects.select_for_update().filter(pk=decision_id).first()
    if decision is None:
        raise QuarantineNotFound()
    return decision


def _poll_code(decision: Quarantine) -> str:
    return Poll.objects.filter(pk=decision.poll_id).values_list("code", flat=True).first() or ""
