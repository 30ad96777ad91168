"""The least number of ballots that a quarantine may tell anything of.

Whoever holds a receipt and may set its ballot aside would otherwise read its marks off the tallies, before
and after. So no decision moves fewer ballots than this from one shown tally to the other, and of fewer the
second tally gives the number alone (docs/decisions/quarantine.md).
"""

from __future__ import annotations

from django.db import connection

from polls.models import Ballot

LEAST = 10

#: How many decisions of a round keep ballots apart, and fewer than `least`. It looks at no more than
#: that many ballots of each; a tally is read with it ten times a second.
SMALL_DECISIONS = """
    SELECT COUNT(*) FROM analytics_quarantine q
    WHERE q.poll_id = %(poll)s AND q.round = %(round)s AND q.moved_at IS NULL AND NULLIF((
        SELECT COUNT(*) FROM (
            SELECT 1 FROM polls_ballot b WHERE b.quarantine_id = q.id ORDER BY b.voter_key LIMIT %(least)s
        ) AS few
    ), 0) < %(least)s
"""


def least(step: int) -> int:
    """Of a round whose tally moves in steps of so many ballots: no fewer than a step."""
    return max(LEAST, step)


def withheld(poll_id: int, round_: int, step: int) -> bool:
    """Whether a decision keeps so few ballots apart that what all of them mark is not told.

    All of them, also those of large decisions: once one of these is released, the rest could be subtracted.
    """
    with connection.cursor() as cursor:
        cursor.execute(SMALL_DECISIONS, {"poll": poll_id, "round": round_, "least": least(step)})
        return bool(cursor.fetchone()[0])


def ballots_up_to(decision_id: int, most: int) -> int:
    """How many ballots a decision keeps apart, counted no further than to `most`."""
    return Ballot.objects.filter(quarantine_id=decision_id).order_by("voter_key")[:most].count()
