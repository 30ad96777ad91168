"""Read a poll and its tally in the state of one moment."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Sum

from analytics.models import Quarantine, Release, Tally
from analytics.results import anonymity_threshold
from polls.errors import PollNotFound
from polls.methods import Method
from polls.models import Poll, State

#: The tally key that counts ballots. Every method has it.
BALLOTS = "ballots"
#: Prefix of the second tally's keys, which count quarantined ballots.
QUARANTINED = "quarantined:"
#: The key in released counts for the number of decisions that quarantine ballots.
REASONS = f"{QUARANTINED}reasons"
#: The states in which a poll with a release step shows released counts (stepped_results.py).
STEPPING = (State.OPEN, State.CLOSING)


def ballot_cells(method: Method, selection: str) -> dict[str, int]:
    """Return what a ballot with this stored selection adds to its tally, by key."""
    return {BALLOTS: 1, **method.cells(selection)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A poll and the shown figures of its current round's tally, at one moment."""

    poll: Poll
    counts: Mapping[str, int]
    version: int
    reasons: int = 0  # the number of decisions that quarantine ballots
    withheld: bool = False  # whether the marks of quarantined ballots are kept secret

    @property
    def stamp(self) -> tuple[int, int, int]:
        """A version that grows with every change. Viewers ignore lower stamps."""
        return self.poll.epoch, self.poll.revision, self.version


def snapshot(poll: Poll) -> Snapshot:
    """Return the figures to show: the released counts if results are stepped now, or else all counts."""
    if is_stepping(poll):
        row = Release.objects.filter(poll_id=poll.pk, round=poll.round).first()
        return _released(poll, row.counts, row.version) if row else _released(poll, {}, 0)
    return counted_snapshot(poll)


def is_stepping(poll: Poll) -> bool:
    """Return whether everybody, including staff, sees only released counts now."""
    return poll.release_step > 1 and poll.state in STEPPING


def _released(poll: Poll, counts: Mapping[str, int], version: int) -> Snapshot:
    shown = {key: count for key, count in counts.items() if key != REASONS}
    # A step covers both tallies, so it may change the second tally by a single ballot. Its marks are
    # withheld.
    return Snapshot(poll, shown, version, counts.get(REASONS, 0), withheld=True)


def counted_snapshot(poll: Poll) -> Snapshot:
    """Return the tally with all counted ballots, even if it is shown in steps."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, _query_params(poll))
        return _snapshot(poll, cursor.fetchall())


def _query_params(poll: Poll) -> dict[str, int]:
    return {
        "poll": poll.pk,
        "epoch": poll.epoch,
        "revision": poll.revision,
        "round": poll.round,
        "least": anonymity_threshold.least(poll.release_step),
    }


def _snapshot(poll: Poll, rows: Sequence[tuple[str, int, int, int | None, int | None]]) -> Snapshot:
    counts = {key: votes for key, votes, *_ in rows}
    version = sum(changes for _, _, changes, *_ in rows)
    for key, _votes, _changes, reasons, small in rows:
        if key == QUARANTINED + BALLOTS:
            return Snapshot(poll, counts, version, reasons or 0, withheld=bool(small))
    return Snapshot(poll, counts, version)


def count_reasons(poll_id: int, round: int) -> int:
    """Count the decisions that quarantine ballots of a round or may still quarantine some."""
    return Quarantine.objects.filter(poll_id=poll_id, round=round, moved_at=None).count()


def counts_of(poll_id: int, round: int) -> dict[str, int]:
    """Return the counts of any round, summed over the partitions."""
    rows = Tally.objects.filter(poll_id=poll_id, round=round)
    return {key: int(total) for key, total in rows.values_list("key").annotate(total=Sum("count"))}


def snapshot_of(code: str) -> Snapshot:
    """Return the snapshot of the poll with this code. Raise PollNotFound."""
    poll = Poll.objects.filter(code=code).prefetch_related("choices").first()
    if poll is None:
        raise PollNotFound()
    return snapshot(poll)


def newest(poll_id: int, last: Snapshot | None = None) -> Snapshot:
    """Return the current snapshot. Raise Poll.DoesNotExist if the poll was deleted.

    With `last`, an earlier snapshot, the poll is read only if something other than votes has changed. If
    nothing has changed, `last` itself is returned.
    """
    if last is not None and (snap := _snapshot_if_unchanged(last.poll)) is not None:
        return last if snap == last else snap
    while True:
        poll = Poll.objects.prefetch_related("choices").get(pk=poll_id)
        # If the poll changed between the queries for it and for its choices, its revision has changed too.
        if (snap := _snapshot_if_unchanged(poll)) is not None:
            return snap


#: Columns: key, votes, changes. The row of quarantined ballots has two more columns: the number of decisions,
#: and the number of decisions with fewer than `least` ballots. One statement reads these numbers at the same
#: moment as the counts. Without quarantined ballots neither subquery runs.
_SUMS = f"""
    SELECT t.key, CAST(SUM(t.count) AS bigint), CAST(SUM(t.changes) AS bigint),
    CASE WHEN t.key = '{QUARANTINED}{BALLOTS}' AND SUM(t.count) > 0 THEN (
        SELECT COUNT(*) FROM analytics_quarantine q
        WHERE q.poll_id = %(poll)s AND q.round = %(round)s AND q.moved_at IS NULL
    ) END,
    CASE WHEN t.key = '{QUARANTINED}{BALLOTS}' AND SUM(t.count) > 0
        THEN ({anonymity_threshold.SMALL_DECISIONS}) END
"""  # noqa: S608
_COUNTED = f"""
    {_SUMS} FROM analytics_tally t WHERE t.poll_id = %(poll)s AND t.round = %(round)s GROUP BY t.key
"""
#: The statement also checks the poll's revision, so that the counts belong to the poll that was read.
_UNCHANGED_COUNTED = f"""
    {_SUMS} FROM polls_poll p LEFT JOIN analytics_tally t ON t.poll_id = p.id AND t.round = p.round
    WHERE p.id = %(poll)s AND p.epoch = %(epoch)s AND p.revision = %(revision)s GROUP BY t.key
"""
_UNCHANGED_RELEASED = """
    SELECT CAST(r.counts AS text), COALESCE(r.version, 0)
    FROM polls_poll p LEFT JOIN analytics_release r ON r.poll_id = p.id AND r.round = p.round
    WHERE p.id = %(poll)s AND p.epoch = %(epoch)s AND p.revision = %(revision)s
"""


def _snapshot_if_unchanged(poll: Poll) -> Snapshot | None:
    """Return the poll's snapshot, or None if more than the votes has changed since the poll was read."""
    stepping = is_stepping(poll)
    with connection.cursor() as cursor:
        cursor.execute(_UNCHANGED_RELEASED if stepping else _UNCHANGED_COUNTED, _query_params(poll))
        rows = cursor.fetchall()
    if not rows:
        return None
    if stepping:
        counts, version = rows[0]
        return _released(poll, json.loads(counts or "{}"), version)
    rows = [row for row in rows if row[0] is not None]  # without counts, the join gives an empty row
    return _snapshot(poll, rows)


def stamps(poll_ids: Iterable[int]) -> dict[int, tuple[int, int, int]]:
    """Return the stamps of many polls with one query. Once a second, a hub looks for changed stamps."""
    ids = list(poll_ids)
    if not ids:
        return {}
    placeholders = ", ".join(["%s"] * len(ids))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.id, p.epoch, p.revision,"  # noqa: S608
            " CASE WHEN p.release_step > 1 AND p.state IN ('open', 'closing') THEN COALESCE((SELECT r.version"
            " FROM analytics_release r WHERE r.poll_id = p.id AND r.round = p.round), 0)"
            " ELSE COALESCE(SUM(t.changes), 0) END FROM polls_poll p"
            " LEFT JOIN analytics_tally t ON t.poll_id = p.id AND t.round = p.round"
            f" WHERE p.id IN ({placeholders}) GROUP BY p.id, p.epoch, p.revision",
            ids,
        )
        return {row[0]: (row[1], row[2], int(row[3])) for row in cursor.fetchall()}
