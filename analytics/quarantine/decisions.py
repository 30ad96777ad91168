"""Decisions to quarantine ballots, so that they are counted in a second tally, and to release them.

A decision records which person or rule made it, and why. Quarantined ballots stay in the ledger, so that
their voters can't have a second ballot. A ballot that replaces a quarantined ballot is quarantined too. The
two tallies must not show what single ballots mark. So a quarantine by receipts and a release into a final
result must each move at least anonymity_threshold.least() ballots.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.counting.checkpoints import announce, lock_all_checkpoints
from analytics.models import Checkpoint, Quarantine
from analytics.quarantine import disclosure_control, moves
from analytics.quarantine.moves import QuarantineOutcome
from polls import lifecycle
from polls.audit_log import record
from polls.casting.receipts import open_receipt
from polls.errors import IllegalState, Malformed, QuarantineNotFound, ReceiptNotFound
from polls.models import Ballot, Poll, State
from polls.votelog import store_clock

#: The maximum number of receipts for one decision. Counting waits until the ballots of all receipts have been
#: moved.
MAX_RECEIPTS = 100_000


def quarantine_receipts(poll: Poll, receipts: Iterable[str], reason: str, by: str) -> QuarantineOutcome:
    """Quarantine the ballots of these receipts' voters in the poll's current round.

    If a voter has cast another ballot since the receipt, the voter's newest ballot is quarantined. All
    ballots move in one transaction: tallies with only some of them moved would show what a few ballots mark.
    """
    outcome, given = QuarantineOutcome(), list(islice(receipts, MAX_RECEIPTS + 1))
    if len(given) > MAX_RECEIPTS:
        raise Malformed(
            _("A decision takes at most %(most)s receipts: divide the list, and quarantine each part.")
            % {"most": f"{MAX_RECEIPTS:,}"}
        )
    reason, voters = _reason(reason), list(_open_receipts(poll, given, outcome))
    with transaction.atomic():
        lock_all_checkpoints()
        cells = disclosure_control.cells_to_move(poll, voters, outcome)
        if cells:
            outcome.decision = _decide(poll, reason, by)
            moves.quarantine(poll, voters, cells, outcome)
            detail = {"reason": reason, "ballots": outcome.ballots, "round": poll.round}
            record(by, "ballots set aside", poll.code, quarantine=outcome.decision.pk, **detail)
    if outcome.decision:
        announce(poll.pk)
    return outcome


def quarantine_new_ballots(poll: Poll, reason: str, by: str) -> Quarantine:
    """Quarantine every ballot that an open poll accepts from now on, until `end` or `release`."""
    with transaction.atomic():
        lock_all_checkpoints()
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        if locked.state != State.OPEN:
            raise IllegalState(_("New ballots can be quarantined only while the poll is open."))
        decision = _decide(locked, _reason(reason), by, since=store_clock())
        Checkpoint.objects.update(watch=True)
        lifecycle.bump_revision(poll.pk)
        record(by, "further ballots set aside", poll.code, quarantine=decision.pk, reason=reason)
    announce(poll.pk)
    return decision


def end(decision_id: int, by: str) -> Quarantine:
    """Stop quarantining new ballots. Ballots that are in quarantine stay there."""
    with transaction.atomic():
        lock_all_checkpoints()
        decision = _lock(decision_id)
        if decision.since is None or decision.until is not None or decision.released_at:
            raise IllegalState(_("This decision doesn't quarantine new ballots."))
        decision.until = store_clock()
        decision.save(update_fields=["until"])
        record(by, "quarantine ended", _poll_code(decision), quarantine=decision.pk)
    announce(decision.poll_id)
    return decision


def release(decision_id: int, by: str, progress: Callable[[int], None] | None = None) -> Quarantine:
    """Release a decision's ballots. Idempotent. Move ballots for a few seconds; the sweep moves the rest."""
    with transaction.atomic():
        lock_all_checkpoints()
        # Lock the poll before the decision, as a purge does. While the poll is locked, it can't close.
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
    announce(decision.poll_id)
    moves.move_back(decision, progress)
    return decision


def count_ballots(decision: Quarantine) -> int:
    """Return how many ballots of this decision are in quarantine now."""
    return Ballot.objects.filter(quarantine_id=decision.pk).count()


def _open_receipts(poll: Poll, receipts: Iterable[str], outcome: QuarantineOutcome) -> Iterator[bytes]:
    seen = set()
    for receipt in receipts:
        try:
            sealed = open_receipt(receipt)
        except ReceiptNotFound:
            outcome.unknown += 1
            continue
        if (sealed.poll_id, sealed.round) != (poll.pk, poll.round):
            outcome.unknown += 1
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
        raise Malformed(_("Give a reason: it is recorded with the ballots."))
    return text.strip()


def _lock(decision_id: int) -> Quarantine:
    decision = Quarantine.objects.select_for_update().filter(pk=decision_id).first()
    if decision is None:
        raise QuarantineNotFound()
    return decision


def _poll_code(decision: Quarantine) -> str:
    return Poll.objects.filter(pk=decision.poll_id).values_list("code", flat=True).first() or ""
