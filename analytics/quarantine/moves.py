"""Moves ballots between the first tally and the second.

Ballots move only while the checkpoints of all partitions are locked. Counting stops during a move, so each
tally row has one writer.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from analytics.counting import result_updates, tally_deltas
from analytics.counting.checkpoints import announce, lock_all_checkpoints
from analytics.models import Quarantine
from analytics.results.tallies import ballot_cells
from polls import lifecycle
from polls.models import Ballot, Poll, Round
from polls.votelog import store_clock

CHUNK = 5000  # ballots that a release moves in one transaction, while counting waits
_VOTERS = 5000  # voters in one statement
#: How long a page or a sweep moves released ballots. The next sweep moves the remaining ballots.
MOVE_SECONDS = 2.0


@dataclass(slots=True)
class QuarantineOutcome:
    """The outcome of quarantining by receipts. If no ballot could be quarantined, there is no decision."""

    decision: Quarantine | None = None
    ballots: int = 0
    already: int = 0  # ballots that were in quarantine already
    too_few: int = 0  # ballots that weren't moved, since the tallies would show what they mark
    not_counted: int = 0  # ballots that are still to be counted, or are dead letters
    unknown: int = 0  # receipts that don't belong to this round


def resume_releases() -> None:
    """Continue the releases that are not finished."""
    for decision in Quarantine.objects.filter(released_at__isnull=False, moved_at=None).order_by("pk"):
        move_back(decision)


def move_back(decision: Quarantine, progress: Callable[[int], None] | None = None) -> None:
    """Move a released decision's ballots back into the first tally, in chunks. Stop after a few seconds."""
    deadline = time.monotonic() + MOVE_SECONDS
    while decision.moved_at is None and time.monotonic() < deadline:
        moved = move_chunk_back(decision)
        if progress:
            progress(moved)
        announce(decision.poll_id)


def move_chunk_back(decision: Quarantine) -> int:
    """Move the next chunk of ballots back in one transaction. Return the number of ballots."""
    with transaction.atomic():
        lock_all_checkpoints()
        quarantined = Ballot.objects.filter(quarantine_id=decision.pk)
        # The last chunk must not be small: a few ballots moved alone would show what they mark.
        some = list(quarantined.order_by("voter_key").values_list("voter_key", "selection")[: 2 * CHUNK])
        some = some if len(some) < 2 * CHUNK else some[:CHUNK]
        if some:
            moved = quarantined.filter(voter_key__lte=some[-1][0])
            moved.update(quarantine_id=None, released_from=decision.pk)
            _move((decision.poll_id, decision.round), [selection for _voter, selection in some], into=False)
            result_updates.update_result(decision.poll_id, decision.round)
        else:
            # Screens also show the number of decisions, which has changed.
            lifecycle.bump_revision(decision.poll_id)
        if len(some) < CHUNK:
            decision.moved_at = timezone.now()
            decision.save(update_fields=["moved_at"])
    return len(some)


def quarantine(poll: Poll, voters: list[bytes], cells: set[int | None], outcome: QuarantineOutcome) -> None:
    """Move these voters' ballots into the second tally, if they belong to one of the `cells`."""
    assert outcome.decision is not None
    for ballots in ballots_in_chunks(poll, voters):
        rows = ballots.filter(quarantine_id=None).values_list("voter_key", "selection", "released_from")
        some = [(voter, selection) for voter, selection, cell in rows if cell in cells]
        moved = ballots.filter(voter_key__in=[voter for voter, _selection in some])
        moved.update(quarantine_id=outcome.decision.pk)
        _move((poll.pk, poll.round), [selection for _voter, selection in some], into=True)
        outcome.ballots += len(some)
    result_updates.update_result(poll.pk, poll.round)


def ballots_in_chunks(poll: Poll, voters: list[bytes]) -> Iterator[QuerySet[Ballot]]:
    """Yield querysets of these voters' ballots in the current round. Each is small enough for a statement."""
    ballots = Ballot.objects.filter(poll_id=poll.pk, round=poll.round)
    for start in range(0, len(voters), _VOTERS):
        yield ballots.filter(voter_key__in=voters[start : start + _VOTERS])


def _move(where: tuple[int, int], selections: Iterable[str], *, into: bool) -> None:
    """Move selections from one tally to the other. The change enters the history at the present second."""
    round_ = Round.objects.get(poll_id=where[0], number=where[1])
    stepped = round_.release_step > 1
    delta, second = tally_deltas.Delta(), store_clock() // 1000
    for selection in selections:
        cells = ballot_cells(round_.method, selection)
        delta.add(where, second, cells, -1, quarantined=not into, stepped=stepped)
        delta.add(where, second, cells, 1, quarantined=into, stepped=stepped)
    # The change can be written to any partition, since all partitions are locked.
    tally_deltas.add(0, delta)
