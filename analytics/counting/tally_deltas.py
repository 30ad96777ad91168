"""Add the ballots written to the ledger to the tallies. Each partition has its own counters."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from django.db import connection

from analytics.counting.ledger import Replacement, Written
from analytics.counting.validation import RoundKey, Validator
from analytics.results.tallies import QUARANTINED, ballot_cells

T = TypeVar("T")


@dataclass(slots=True)
class Delta:
    """Changes to the counters, by round, and to the history, by round and second of acceptance."""

    tally: dict[RoundKey, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    points: dict[tuple[int, int, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(
        self,
        round_key: RoundKey,
        second: int,
        cells: Mapping[str, int],
        count: int,
        *,
        quarantined: bool = False,
        stepped: bool = False,
    ) -> None:
        """Add `count` ballots. `cells` says what each of them adds to which key.

        The second tally has no history. Each step writes the history of stepped results.
        """
        tally, prefix = self.tally[round_key], QUARANTINED if quarantined else ""
        points = None if quarantined or stepped else self.points[(*round_key, second)]
        for key, weight in cells.items():
            tally[prefix + key] += weight * count
            if points is not None:
                points[key] += weight * count


def tally_delta(written: Written, validator: Validator) -> Delta:
    """Return the changes to the tallies that follow from the rows written to the ledger."""
    # Equal selections are grouped first, so that each selection is decoded once.
    grouped: dict[tuple[int, int, int, bool], Counter[str]] = defaultdict(Counter)
    for decision_id, blocks in written.added.items():
        for block in blocks:
            group = block.poll_id, block.round, block.at // 1000, decision_id is not None
            grouped[group].update(block.selections)
    delta = Delta()
    for (poll_id, round_, second, quarantined), selections in grouped.items():
        method = validator.method((poll_id, round_))
        stepped = validator.is_stepped((poll_id, round_))
        for selection, count in selections.items():
            cells = ballot_cells(method, selection)
            delta.add((poll_id, round_), second, cells, count, quarantined=quarantined, stepped=stepped)
    for replacement in written.replaced:
        _add_replacement(delta, replacement, validator)
    return delta


def _add_replacement(delta: Delta, replacement: Replacement, validator: Validator) -> None:
    entry = replacement.entry
    round_key, second = (entry.poll_id, entry.round), entry.at // 1000
    method = validator.method(round_key)
    stepped = validator.is_stepped(round_key)
    for sign, selection, quarantined in (
        (-1, replacement.old_selection, replacement.was_quarantined),
        (1, entry.selection, replacement.decision_id is not None),
    ):
        # Include BALLOTS: its count stays the same, but writing it increases the tally's version.
        cells = ballot_cells(method, selection)
        delta.add(round_key, second, cells, sign, quarantined=quarantined, stepped=stepped)


def add(partition: int, delta: Delta) -> None:
    """Write a delta in the caller's transaction, which holds the lock of the partition's checkpoint."""
    tally = [
        (poll_id, round_, key, partition, count, 1)
        for (poll_id, round_), counts in delta.tally.items()
        for key, count in counts.items()
    ]
    points = [
        (poll_id, round_, second, key, partition, count)
        for (poll_id, round_, second), counts in delta.points.items()
        for key, count in counts.items()
        if count
    ]
    with connection.cursor() as cursor:
        # The database does the addition, so that no value read earlier is written back.
        for rows in _chunks(tally):
            cursor.execute(_ADD_TO_TALLY % _values(rows), list(chain.from_iterable(rows)))
        for seconds in _chunks(points):
            cursor.execute(_ADD_TO_POINTS % _values(seconds), list(chain.from_iterable(seconds)))


#: Rows per statement. Few large statements are faster, but SQLite limits the number of parameters.
_ROWS = 400
_ADD_TO_TALLY = """
    INSERT INTO analytics_tally (poll_id, round, key, partition, count, changes) VALUES %s
    ON CONFLICT (poll_id, round, key, partition) DO UPDATE
    SET count = analytics_tally.count + excluded.count, changes = analytics_tally.changes + excluded.changes
"""
_ADD_TO_POINTS = """
    INSERT INTO analytics_tallypoint (poll_id, round, second, key, partition, count) VALUES %s
    ON CONFLICT (poll_id, round, second, key, partition) DO UPDATE
    SET count = analytics_tallypoint.count + excluded.count
"""


def _values(rows: Sequence[tuple[object, ...]]) -> str:
    row = f"({', '.join(['%s'] * len(rows[0]))})"
    return ", ".join([row] * len(rows))


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]
