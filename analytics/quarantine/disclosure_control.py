"""Refuses moves between the two tallies that would show what single ballots mark.

Somebody who compares the tallies before and after a move learns the sum of the moved ballots' marks, so a
move must not involve too few ballots (docs/decisions/quarantine.md).
"""

from collections import Counter

from django.db.models import Q
from django.utils.translation import gettext as _

from analytics.models import Quarantine
from analytics.quarantine.moves import QuarantineOutcome, ballots_in_chunks
from analytics.results import anonymity_threshold
from polls.errors import TooFewBallots
from polls.models import Ballot, Poll, Round, State


def minimum_to_release(poll: Poll | None, decision: Quarantine) -> int:
    """Return the minimum number of ballots for a release, or 0 if this decision has enough ballots."""
    if poll is None or (decision.round == poll.round and poll.state == State.OPEN):
        return 0  # an open poll's tally changes by single ballots anyway
    least = _least(poll, decision.round)
    ballots = Ballot.objects.filter(quarantine_id=decision.pk).order_by("voter_key")[:least].count()
    return least if 0 < ballots < least else 0


def _least(poll: Poll, number: int) -> int:
    round_ = Round.objects.filter(poll=poll, number=number).first()
    return anonymity_threshold.least(round_.release_step if round_ else 1)


def check_release(poll: Poll | None, decision: Quarantine) -> None:
    """Raise TooFewBallots if releasing this decision would show what its ballots mark."""
    if least := minimum_to_release(poll, decision):
        raise TooFewBallots(
            _(
                "Voting is over, and these ballots are fewer than %(least)s: the result would show what they"
                " mark. They stay in quarantine."
            )
            % {"least": least}
        )


def cells_to_move(poll: Poll, voters: list[bytes], outcome: QuarantineOutcome) -> set[int | None]:
    """Return the cells from which these voters' ballots may be moved. Add other ballots to `outcome`.

    A cell is a set of ballots whose total the tallies have shown. The ballots that one decision released are
    a cell (`released_from`). All other ballots are the cell None: ballots that were never quarantined, and
    ballots of small releases, whose totals were not shown. Moving only a few ballots of a cell, or all but a
    few, would show the marks of these few by subtraction.
    """
    found: Counter[tuple[int | None, bool]] = Counter()
    for ballots in ballots_in_chunks(poll, voters):
        rows = ballots.values_list("released_from", "quarantine_id")
        found.update((cell, decision is not None) for cell, decision in rows)
    outcome.already = sum(count for (_cell, quarantined), count in found.items() if quarantined)
    outcome.not_counted = len(voters) - found.total()
    least = _least(poll, poll.round)
    small = _small_cells(poll, least)
    counted: Counter[int | None] = Counter()
    for (cell, quarantined), count in found.items():
        if not quarantined:
            counted[None if cell in small else cell] += count
    cells = {cell for cell, count in counted.items() if _is_safe_to_move(poll, cell, small, count, least)}
    outcome.too_few = sum(count for cell, count in counted.items() if cell not in cells)
    if outcome.too_few and not cells:
        raise TooFewBallots(
            _(
                "Quarantine at least %(least)s ballots together, and leave at least as many, or none. With"
                " fewer, the tallies would show what each of them marks."
            )
            % {"least": least}
        )
    return cells | small if None in cells else cells


def _small_cells(poll: Poll, least: int) -> set[int | None]:
    """Return the released decisions with fewer than `least` ballots in the first tally."""
    decisions = Quarantine.objects.filter(poll_id=poll.pk, round=poll.round, released_at__isnull=False)
    counted = Ballot.objects.filter(quarantine_id=None)
    return {
        pk
        for pk in decisions.values_list("pk", flat=True)
        if counted.filter(released_from=pk).order_by()[:least].count() < least
    }


def _is_safe_to_move(poll: Poll, cell: int | None, small: set[int | None], count: int, least: int) -> bool:
    if count < least:
        return False
    of_cell = Q(released_from=cell) if cell else Q(released_from=None) | Q(released_from__in=small)
    counted = Ballot.objects.filter(of_cell, poll_id=poll.pk, round=poll.round, quarantine_id=None)
    remaining = counted.order_by()[: count + least].count() - count
    return remaining == 0 or remaining >= least
