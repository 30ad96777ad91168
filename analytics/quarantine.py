"""Setting ballots aside into the second tally, and releasing them.

A decision says by whom or what, and why. Its ballots keep their place in the ledger, which stays the only
one of their voters, and are counted apart; released, they count again. Whoever moves ballots holds the
checkpoints of all partitions meanwhile, so that nobody counts, and every slot has one writer.

What a voter does changes nothing: a ballot that takes the place of one that was set aside is set aside too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from polls import lifecycle
from polls.errors import IllegalStep, Malformed, QuarantineNotFound, ReceiptNotFound
from polls.methods import METHODS, decode
from polls.models import Ballot, Poll, Round, State
from polls.receipts import open_receipt
from polls.records import record
from polls.signals import ballots_appended

from . import results, slots
from .checkpoints import hold_counting
from .models import Checkpoint, Quarantine
from .signals import tally_changed
from .tallies import BALLOTS

#: Ballots a transaction: counting waits for as long as these take.
CHUNK = 5000
#: How long a page moves ballots before it leaves the rest to the sweep, and the sweep to the next one.
PATIENCE_SECONDS = 2.0


@dataclass(slots=True)
class SetAside:
    """What became of a list of receipts. Without any ballot set aside there is no decision."""

    decision: Quarantine | None = None
    ballots: int = 0
    already: int = 0  # set aside before
    not_counted: int = 0  # still to be counted, or in the dead letters
    unknown: int = 0  # no receipt of ours, or of another round


def by_receipts(poll: Poll, receipts: Iterable[str], reason: str, by: str) -> SetAside:
    """Set aside the ballots of these receipts' voters, in the poll's current round.

    A receipt whose ballot its voter has replaced since stands for the one that took its place.
    """
    done = SetAside()
    reason, voters = _reason(reason), _voters(poll, receipts, done)
    while some := list(islice(voters, CHUNK)):
        _set_aside(poll, some, reason, by, done)
    if done.decision:
        detail = {"reason": reason, "ballots": done.ballots, "round": poll.round}
        record(by, "ballots set aside", poll.code, quarantine=done.decision.pk, **detail)
        _tell(poll.pk)
    return done


def stand(poll: Poll, reason: str, by: str) -> Quarantine:
    """Set aside every ballot of an open poll that is accepted from now on, until it is ended or released."""
    with transaction.atomic():
        hold_counting()
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        if locked.state != State.OPEN:
            raise IllegalStep(_("Only of an open poll can all further ballots be set aside."))
        decision = _decide(locked, _reason(reason), by, since=_now())
        Checkpoint.objects.update(watch=True)
        lifecycle.touch(poll.pk)
        record(by, "further ballots set aside", poll.code, quarantine=decision.pk, reason=reason)
    _tell(poll.pk)
    return decision


def end(decision_id: int, by: str) -> Quarantine:
    """What is accepted from now on is counted again; what was set aside stays so."""
    with transaction.atomic():
        hold_counting()
        decision = _locked(decision_id)
        if decision.since is None or decision.until is not None or decision.released_at:
            raise IllegalStep(_("This decision doesn't take in any further ballots."))
        decision.until = _now()
        decision.save(update_fields=["until"])
        record(by, "quarantine ended", _code(decision), quarantine=decision.pk)
    _tell(decision.poll_id)
    return decision


def release(decision_id: int, by: str, progress: Callable[[int], None] | None = None) -> Quarantine:
    """Count a decision's ballots again; what isn't moved back in time, the sweep moves. Safe to repeat."""
    with transaction.atomic():
        hold_counting()
        decision = _locked(decision_id)
        if decision.released_at is None:
            decision.released_at, decision.released_by = timezone.now(), by
            decision.save(update_fields=["released_at", "released_by"])
            lifecycle.touch(decision.poll_id)
            record(by, "quarantine released", _code(decision), quarantine=decision.pk)
    move_back(decision, progress=progress)
    return decision


def go_on() -> None:
    """Move on with releases that somebody began and left."""
    for decision in Quarantine.objects.filter(released_at__isnull=False, moved_at=None).order_by("pk"):
        move_back(decision)


def move_back(
    decision: Quarantine, seconds: float = PATIENCE_SECONDS, progress: Callable[[int], None] | None = None
) -> None:
    """Bring a released decision's ballots back into the first tally, a chunk a transaction."""
    deadline = time.monotonic() + seconds
    while decision.moved_at is None and time.monotonic() < deadline:
        moved = _move_some_back(decision)
        if progress:
            progress(moved)
        _tell(decision.poll_id)


def ballots_of(decision: Quarantine) -> int:
    """How many ballots a decision keeps apart now."""
    return Ballot.objects.filter(quarantine_id=decision.pk).count()


def _move_some_back(decision: Quarantine) -> int:
    with transaction.atomic():
        hold_counting()
        apart = Ballot.objects.filter(quarantine_id=decision.pk)
        some = list(apart.order_by("voter_key").values_list("voter_key", "selection")[:CHUNK])
        if some:
            apart.filter(voter_key__lte=some[-1][0]).update(quarantine_id=None)
            _move((decision.poll_id, decision.round), [selection for _voter, selection in some], into=False)
            results.refresh(decision.poll_id, decision.round)
        else:
            # A decision less, though no ballot more: screens name both.
            lifecycle.touch(decision.poll_id)
        if len(some) < CHUNK:
            decision.moved_at = timezone.now()
            decision.save(update_fields=["moved_at"])
    return len(some)


def _set_aside(poll: Poll, voters: Sequence[bytes], reason: str, by: str, done: SetAside) -> None:
    with transaction.atomic():
        hold_counting()
        ballots = Ballot.objects.filter(poll_id=poll.pk, round=poll.round, voter_key__in=voters)
        found = list(ballots.values_list("selection", "quarantine_id"))
        counted = [selection for selection, apart in found if apart is None]
        done.already += len(found) - len(counted)
        done.not_counted += len(voters) - len(found)
        if not counted:
            return
        done.decision = done.decision or _decide(poll, reason, by)
        done.ballots += len(counted)
        ballots.filter(quarantine_id=None).update(quarantine_id=done.decision.pk)
        _move((poll.pk, poll.round), counted, into=True)
        results.refresh(poll.pk, poll.round)


def _move(where: tuple[int, int], selections: Iterable[str], *, into: bool) -> None:
    """From one tally into the other, at the second at which it is decided."""
    round_ = Round.objects.get(poll_id=where[0], number=where[1])
    contribution = METHODS[round_.rules["method"]].contribution
    stepped = round_.rules.get("step", 1) > 1
    delta, second = slots.Delta(), int(time.time())
    for selection in selections:
        keys = (BALLOTS, *contribution(decode(selection)))
        delta.add(where, second, keys, -1, apart=not into, stepped=stepped)
        delta.add(where, second, keys, 1, apart=into, stepped=stepped)
    # Whichever partition's slots: we hold them all.
    slots.add(0, delta)


def _voters(poll: Poll, receipts: Iterable[str], done: SetAside) -> Iterator[bytes]:
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


def _locked(decision_id: int) -> Quarantine:
    decision = Quarantine.objects.select_for_update().filter(pk=decision_id).first()
    if decision is None:
        raise QuarantineNotFound()
    return decision


def _code(decision: Quarantine) -> str:
    return Poll.objects.filter(pk=decision.poll_id).values_list("code", flat=True).first() or ""


def _now() -> int:
    return int(time.time() * 1000)


def _tell(poll_id: int) -> None:
    """Screens, and whoever came to count while we held the checkpoints and passed by."""
    tally_changed.send_robust(sender=None, poll_ids={poll_id})
    partitions = set(Checkpoint.objects.values_list("partition", flat=True))
    ballots_appended.send_robust(sender=None, partitions=partitions)
