"""The least number of ballots that a quarantine may tell anything of.

Whoever holds a receipt and may set its ballot aside would otherwise read its marks off the tallies, before
and after. So no decision moves fewer ballots than this from one shown tally to the other, and of fewer the
second tally gives the number alone (docs/decisions/quarantine.md).
"""

from __future__ import annotations

from polls.models import Ballot

from .models import Quarantine

LEAST = 10


def least(step: int) -> int:
    """Of a round whose tally moves in steps of so many ballots: no fewer than a step."""
    return max(LEAST, step)


def withheld(poll_id: int, round_: int, step: int) -> bool:
    """Whether a decision keeps so few ballots apart that what all of them mark is not told.

    All of them, also those of large decisions: once one of these is released, the rest could be subtracted.
    """
    decisions = Quarantine.objects.filter(poll_id=poll_id, round=round_, moved_at=None)
    few = range(1, least(step))
    return any(ballots_up_to(pk, least(step)) in few for pk in decisions.values_list("pk", flat=True))


def ballots_up_to(decision_id: int, most: int) -> int:
    """How many ballots a decision keeps apart, counted no further than to `most`."""
    return Ballot.objects.filter(quarantine_id=decision_id).order_by("voter_key")[:most].count()
