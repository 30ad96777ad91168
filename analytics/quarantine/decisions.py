"""Setting ballots aside into the second tally, and releasing them.

A decision says by whom or what, and why. Its ballots keep their place in the ledger, which stays the only
one of their voters, and are counted apart; released, they count again. Whoever moves ballots holds the
checkpoints of all partitions meanwhile, so that nobody counts, and every slot has one writer.

What a voter does changes nothing: a ballot that takes the place of one that was set aside is set aside too.

Nobody learns from the two tallies what single ballots mark: fewer than secrecy.least() are neither set aside
by their receipts nor released into a result.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.counting import result_updates, tally_deltas
from analytics.counting.checkpoints import lock_all_checkpoints
from analytics.models import Checkpoint, Quarantine
from analytics.results import anonymity_threshold
from analytics.results.tallies import BALLOTS
from analytics.signals import tally_changed
from polls import lifecycle
from polls.audit_log import record
from polls.casting.receipts import open_receipt
from polls.errors import IllegalState, Malformed, QuarantineNotFound, ReceiptNotFound, TooFewBallots
from polls.methods import METHODS, decode
from polls.models import Ballot, Poll, Round, State
from polls.signals import ballots_appended
from polls.votelog import store_clock

#: Ballots a transaction of a release: counting waits for as long as these take.
CHUNK = 5000
#: Voters a statement.
_VOTERS = 5000
#: Receipts a decision: counting waits until the last of their ballots is moved.
RECEIPTS_AT_MOST = 100_000
#: How long a page moves ballots before it leaves the rest to the sweep, and the sweep to the next one.
PATIENCE_SECONDS = 2.0


@dataclass(slots=True)
class SetAside:
    """What became of a list of receipts. Without any ballot set aside there is no decision."""

    decision: Quarantine | None = None
    ballots: int = 0
    already: int = 0  # set aside before
    too_few: int = 0  # left where they are: released together, and of so few the marks would show
    not_counted: int = 0  # still to be counted, or in the dead letters
    unknown: int = 0  # no receipt of ours, or of another round


def by_receipts(poll: Poll, receipts: Iterable[str], reason: str, by: str) -> SetAside:
    """Set aside the ballots of these receipts' voters, in the poll's current round.

    A receipt whose ballot its voter has replaced since stands for the one that took its place. All or none,
    in one transaction: a part of them in between would show what few ballots mark.
    """
    done, given = SetAside(), list(islice(receipts, RECEIPTS_AT_MOST + 1))
    if len(given) > RECEIPTS_AT_MOST:
        raise Malformed(
            _("A decision takes at most %(most)s receipts: divide the list, and set its parts aside in turn.")
            % {"most": f"{RECEIPTS_AT_MOST:,}"}
        )
    reason, voters = _reason(reason), list(_voters(poll, given, done))
    with transaction.atomic():
        lock_all_checkpoints()
        cells = _cells_to_move(poll, voters, done)
        if cells:
            done.decision = _decide(poll, reason, by)
            _set_aside(poll, voters, cells, done)
            detail = {"reason": reason, "ballots": done.ballots, "round": poll.round}
            record(by, "ballots set aside", poll.code, quarantine=done.decision.pk, **detail)
    if done.decision:
        _tell(poll.pk)
    return done


def stand(poll: Poll, reason: str, by: str) -> Quarantine:
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
    _tell(poll.pk)
    return decision


def end(decision_id: int, by: str) -> Quarantine:
    """What is accepted from now on is counted again; what was set aside stays so."""
    with transaction.atomic():
        lock_all_checkpoints()
        decision = _locked(decision_id)
        if decision.since is None or decision.until is not None or decision.released_at:
            raise IllegalState(_("This decision doesn't take in any further ballots."))
        decision.until = store_clock()
        decision.save(update_fields=["until"])
        record(by, "quarantine ended", _code(decision), quarantine=decision.pk)
    _tell(decision.poll_id)
    return decision


def release(decision_id: int, by: str, progress: Callable[[int], None] | None = None) -> Quarantine:
    """Count a decision's ballots again; what isn't moved back in time, the sweep moves. Safe to repeat."""
    with transaction.atomic():
        lock_all_checkpoints()
        # The poll before the decision, as a purge locks them. So it doesn't close between check and move.
        of_decision = Quarantine.objects.filter(pk=decision_id).values("poll_id")
        poll = Poll.objects.select_for_update().filter(pk__in=of_decision).first()
        decision = _locked(decision_id)
        if decision.released_at is None:
            _check_release(poll, decision)
            decision.released_at, decision.released_by = timezone.now(), by
            decision.save(update_fields=["released_at", "released_by"])
            lifecycle.bump_revision(decision.poll_id)
            moved = _move_some_back(decision)
            if progress:
                progress(moved)
            record(by, "quarantine released", _code(decision), quarantine=decision.pk)
    _tell(decision.poll_id)
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


def needs_more(decision: Quarantine) -> int:
    """How many ballots it takes to release this decision into a result, where it has fewer; else 0."""
    return _needs_more(Poll.objects.filter(pk=decision.poll_id).first(), decision)


def _needs_more(poll: Poll | None, decision: Quarantine) -> int:
    if poll is None or (decision.round == poll.round and poll.state == State.OPEN):
        return 0  # ballots come in one by one now, and so may these
    round_ = Round.objects.filter(poll=poll, number=decision.round).first()
    least = anonymity_threshold.least(_step(round_) if round_ else 1)
    return least if 0 < anonymity_threshold.ballots_up_to(decision.pk, least) < least else 0


def _check_release(poll: Poll | None, decision: Quarantine) -> None:
    if least := _needs_more(poll, decision):
        raise TooFewBallots(
            _(
                "Voting is over, and these ballots are fewer than %(least)s: the result would show what they"
                " mark. They stay set aside."
            )
            % {"least": least}
        )


def _move_some_back(decision: Quarantine) -> int:
    with transaction.atomic():
        lock_all_checkpoints()
        apart = Ballot.objects.filter(quarantine_id=decision.pk)
        # The last ones all together: a few of them alone would show what they mark.
        some = list(apart.order_by("voter_key").values_list("voter_key", "selection")[: 2 * CHUNK])
        some = some if len(some) < 2 * CHUNK else some[:CHUNK]
        if some:
            moved = apart.filter(voter_key__lte=some[-1][0])
            moved.update(quarantine_id=None, released_from=decision.pk)
            _move((decision.poll_id, decision.round), [selection for _voter, selection in some], into=False)
            result_updates.update_result(decision.poll_id, decision.round)
        else:
            # A decision less, though no ballot more: screens name both.
            lifecycle.bump_revision(decision.poll_id)
        if len(some) < CHUNK:
            decision.moved_at = timezone.now()
            decision.save(update_fields=["moved_at"])
    return len(some)


def _cells_to_move(poll: Poll, voters: list[bytes], done: SetAside) -> set[int | None]:
    """The cells that these voters' ballots may be moved out of, by their `released_from`.

    Ballots that were released together are a cell: the tallies have shown what all of them mark. Moving all
    but few of a cell, or only few, would show the marks of these by subtraction. Those that were never set
    aside are one too, with those of which so few were released that nothing was shown of them.
    """
    found: Counter[tuple[int | None, bool]] = Counter()
    for ballots in _in_pieces(poll, voters):
        rows = ballots.values_list("released_from", "quarantine_id")
        found.update((cell, apart is not None) for cell, apart in rows)
    done.already = sum(count for (_cell, apart), count in found.items() if apart)
    done.not_counted = len(voters) - found.total()
    round_ = Round.objects.filter(poll=poll, number=poll.round).first()
    least = anonymity_threshold.least(_step(round_) if round_ else 1)
    small = _small_cells(poll, least)
    counted: Counter[int | None] = Counter()
    for (cell, apart), count in found.items():
        if not apart:
            counted[None if cell in small else cell] += count
    cells = {cell for cell, count in counted.items() if _may_move(poll, cell, small, count, least)}
    done.too_few = sum(count for cell, count in counted.items() if cell not in cells)
    if done.too_few and not cells:
        raise TooFewBallots(
            _(
                "Set aside at least %(least)s ballots together, and leave as many: fewer would show what each"
                " of them marks."
            )
            % {"least": least}
        )
    return cells | small if None in cells else cells


def _small_cells(poll: Poll, least: int) -> set[int | None]:
    decisions = Quarantine.objects.filter(poll_id=poll.pk, round=poll.round, released_at__isnull=False)
    counted = Ballot.objects.filter(quarantine_id=None)
    return {
        pk
        for pk in decisions.values_list("pk", flat=True)
        if counted.filter(released_from=pk).order_by()[:least].count() < least
    }


def _may_move(poll: Poll, cell: int | None, small: set[int | None], count: int, least: int) -> bool:
    if count < least:
        return False
    of_cell = Q(released_from=cell) if cell else Q(released_from=None) | Q(released_from__in=small)
    counted = Ballot.objects.filter(of_cell, poll_id=poll.pk, round=poll.round, quarantine_id=None)
    left = counted.order_by()[: count + least].count() - count
    return left == 0 or left >= least


def _set_aside(poll: Poll, voters: list[bytes], cells: set[int | None], done: SetAside) -> None:
    assert done.decision is not None
    for ballots in _in_pieces(poll, voters):
        rows = ballots.filter(quarantine_id=None).values_list("voter_key", "selection", "released_from")
        some = [(voter, selection) for voter, selection, cell in rows if cell in cells]
        moved = ballots.filter(voter_key__in=[voter for voter, _selection in some])
        moved.update(quarantine_id=done.decision.pk)
        _move((poll.pk, poll.round), [selection for _voter, selection in some], into=True)
        done.ballots += len(some)
    result_updates.update_result(poll.pk, poll.round)


def _in_pieces(poll: Poll, voters: list[bytes]) -> Iterator[QuerySet[Ballot]]:
    """These voters' ballots in the current round, some a statement."""
    ballots = Ballot.objects.filter(poll_id=poll.pk, round=poll.round)
    for start in range(0, len(voters), _VOTERS):
        yield ballots.filter(voter_key__in=voters[start : start + _VOTERS])


def _step(round_: Round) -> int:
    return int(round_.rules.get("step", 1))


def _move(where: tuple[int, int], selections: Iterable[str], *, into: bool) -> None:
    """From one tally into the other, at the second at which it is decided."""
    round_ = Round.objects.get(poll_id=where[0], number=where[1])
    contribution = METHODS[round_.rules["method"]].contribution
    stepped = _step(round_) > 1
    delta, second = tally_deltas.Delta(), store_clock() // 1000
    for selection in selections:
        keys = (BALLOTS, *contribution(decode(selection)))
        delta.add(where, second, keys, -1, quarantined=not into, stepped=stepped)
        delta.add(where, second, keys, 1, quarantined=into, stepped=stepped)
    # Whichever partition's slots: we hold them all.
    tally_deltas.add(0, delta)


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


def _tell(poll_id: int) -> None:
    """Screens, and whoever came to count while we held the checkpoints and passed by."""
    tally_changed.send_robust(sender=None, poll_ids={poll_id})
    partitions = set(Checkpoint.objects.values_list("partition", flat=True))
    ballots_appended.send_robust(sender=None, partitions=partitions)
