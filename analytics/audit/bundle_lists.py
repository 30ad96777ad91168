"""Yield the lines of an audit bundle's lists: receipts, and ballots or marks."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from django.db.models import Count, QuerySet

from analytics.audit.external_sort import sorted_lines
from polls.casting.receipts import make_receipt
from polls.models import Ballot, Round

_CHUNK = 5000
_LINES_AT_ONCE = 500


def receipt_lines(
    rows: QuerySet[Ballot], format: int, progress: Callable[[int], None] | None
) -> Iterator[str]:
    fields = rows.values_list("poll_id", "round", "voter_key", "ballot_id").order_by()
    for number, (poll_id, number_of_round, voter_key, ballot_id) in enumerate(fields.iterator(_CHUNK), 1):
        yield make_receipt(poll_id, number_of_round, bytes(voter_key), bytes(ballot_id), format) + "\n"
        if progress and number % _CHUNK == 0:
            progress(_CHUNK)


def ballot_lines(rows: QuerySet[Ballot], folder: Path) -> Iterator[str]:
    """Yield a line for each ballot, sorted. Each distinct selection is read and sorted only once."""
    alike = rows.order_by().values_list("selection").annotate(ballots=Count("voter_key"))
    counted = (f"{text.replace(',', ' ')}\t{count}\n" for text, count in alike.iterator(_CHUNK))
    return _repeat_lines(sorted_lines(counted, folder))


def mark_lines(round_: Round, counts: Mapping[str, int], folder: Path) -> Iterator[str]:
    """Yield a line for each mark of each ballot, sorted: each key of the tally, repeated by its count."""
    keys = round_.method.keys(round_.method_rules())
    counted = (f"{key}\t{counts.get(key, 0)}\n" for key in keys)
    return _repeat_lines(sorted_lines(counted, folder))


def _repeat_lines(counted: Iterator[str]) -> Iterator[str]:
    yield "selection\n"
    for line in counted:
        marks, _tab, count = line.partition("\t")
        remaining = int(count)
        while remaining > 0:  # one line may be repeated millions of times
            yield f"{marks}\n" * min(remaining, _LINES_AT_ONCE)
            remaining -= _LINES_AT_ONCE
