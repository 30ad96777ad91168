"""The minimum number of quarantined ballots whose marks are shown.

Without a minimum, somebody with a receipt and the right to quarantine could move a single ballot, and read
its marks from the tallies before and after the move. So no decision may move fewer ballots than the minimum
between the tallies. If a decision holds fewer, the second tally shows only its number of ballots
(docs/decisions/quarantine.md).
"""

from django.db import connection

LEAST = 10

#: The number of a round's decisions that quarantine some ballots, but fewer than `least`. This query is
#: part of each reading of a tally, ten times a second, so it reads at most `least` ballots of each decision.
SMALL_DECISIONS = """
    SELECT COUNT(*) FROM analytics_quarantine q
    WHERE q.poll_id = %(poll)s AND q.round = %(round)s AND q.moved_at IS NULL AND NULLIF((
        SELECT COUNT(*) FROM (
            SELECT 1 FROM polls_ballot b WHERE b.quarantine_id = q.id ORDER BY b.voter_key LIMIT %(least)s
        ) AS few
    ), 0) < %(least)s
"""


def least(step: int) -> int:
    """Return the minimum for a round with this release step. A step of more than LEAST is the minimum."""
    return max(LEAST, step)


def withheld(poll_id: int, round_: int, step: int) -> bool:
    """Return whether the marks of all quarantined ballots of a round are withheld.

    All marks are withheld if any decision covers too few ballots. The marks of larger decisions are withheld
    too: after the release of a larger decision, subtraction would show the marks of the small decision.
    """
    with connection.cursor() as cursor:
        cursor.execute(SMALL_DECISIONS, {"poll": poll_id, "round": round_, "least": least(step)})
        return bool(cursor.fetchone()[0])
