"""Moving ballots between the two tallies, by whoever holds the checkpoints of all partitions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from analytics.counting import result_updates, tally_deltas
from analytics.counting.checkpoints import lock_all_checkpoints
from analytics.models import Checkpoint, Quarantine
from analytics.results.tallies import BALLOTS
from analytics.signals import tally_changed
from polls import lifecycle
from polls.methods import METHODS, decode
from polls.models import Ballot, Poll, Round
from polls.signals import ballots_appended
from polls.votelog import store_clock

#: Ballots a transaction of a release: counting waits for as long as these take.
CHUNK = 5000
#: Voters a statement.
_VOTERS = 5000
#: How long a page moves ballots before it leaves the rest to the sweep, and the sweep to the next one.
MOVE_SECONDS = 2.0


@dataclass(slots=True)
class QuarantineOutcome:
    """What became of a list of receipts. Without any ballot set aside there is no decision."""

    decision: Quarantine | None = None
    ballots: int = 0
    already: int = 0  # set aside before
    too_few: int = 0  # left where they are: released together, and of so few the marks would show
    not_counted: int = 0  # still to be counted, or in the dead letters
    unknown: int = 0  # no receipt of ours, or of another round


def resume_releases() -> None:
    """Move on with releases that somebody began and left."""
    for decision in Quarantine.objects.filter(released_at__isnull=False, moved_at=None).order_by("pk"):
        move_back(decision)


def move_back(
    decision: Quarantine, seconds: float = MOVE_SECONDS, progress: Callable[[int], None] | None = None
) -> None:
    """Bring a released decision's ballots back into the first tally, a chunk a transaction."""
    deadline = time.monotonic() + seconds
    while decision.moved_at is None and time.monotonic() < deadline:
        moved = move_chunk_back(decision)
        if progress:
            progress(moved)
        announce(decision.poll_id)


def move_chunk_back(decision: Quarantine) -> int:
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


def quarantine(poll: Poll, voters: list[bytes], cells: set[int | None], done: QuarantineOutcome) -> None:
    assert done.decision is not None
    for ballots in ballots_in_chunks(poll, voters):
        rows = ballots.filter(quarantine_id=None).values_list("voter_key", "selection", "released_from")
        some = [(voter, selection) for voter, selection, cell in rows if cell in cells]
        moved = ballots.filter(voter_key__in=[voter for voter, _selection in some])
        moved.update(quarantine_id=done.decision.pk)
        _move((poll.pk, poll.round), [selection for _voter, selection in some], into=True)
        done.ballots += len(some)
    result_updates.update_result(poll.pk, poll.round)


def ballots_in_chunks(poll: Poll, voters: list[bytes]) -> Iterator[QuerySet[Ballot]]:
    """These voters' ballots in the current round, some a statement."""
    ballots = Ballot.objects.filter(poll_id=poll.pk, round=poll.round)
    for start in range(0, len(voters), _VOTERS):
        yield ballots.filter(voter_key__in=voters[start : start + _VOTERS])


def step_of(round_: Round) -> int:
    return int(round_.rules.get("step", 1))


def _move(where: tuple[int, int], selections: Iterable[str], *, into: bool) -> None:
    """From one tally into the other, at the second at which it is decided."""
    round_ = Round.objects.get(poll_id=where[0], number=where[1])
    contribution = METHODS[round_.rules["method"]].contribution
    stepped = step_of(round_) > 1
    delta, second = tally_deltas.Delta(), store_clock() // 1000
    for selection in selections:
        keys = (BALLOTS, *contribution(decode(selection)))
        delta.add(where, second, keys, -1, quarantined=not into, stepped=stepped)
        delta.add(where, second, keys, 1, quarantined=into, stepped=stepped)
    # Whichever partition's slots: we hold them all.
    tally_deltas.add(0, delta)


def announce(poll_id: int) -> None:
    """Screens, and whoever came to count while we held the checkpoints and passed by."""
    tally_changed.send_robust(sender=None, poll_ids={poll_id})
    partitions = set(Checkpoint.objects.values_list("partition", flat=True))
    ballots_appended.send_robust(sender=None, partitions=partitions)
