"""Checkpoints say how far each partition is counted, and which vote log the database counts from."""

import secrets
from collections.abc import Mapping
from contextlib import suppress

from django.utils.translation import gettext as _

from analytics.models import Checkpoint
from analytics.signals import tally_changed
from polls.errors import LogInconsistent, LogUnsuitable
from polls.signals import ballots_appended
from polls.votelog import STORE_ERRORS, get_log
from polls.votelog.entries import Head


def expected_heads(*, make: bool = True) -> dict[int, Head]:
    """Return each partition's generation and counted position. `make`: create missing rows first."""
    log, rows = get_log(), list(Checkpoint.objects.all())
    if len(rows) != log.partitions or not all(row.made and row.log == log.name for row in rows):
        if make:
            rows = _make()
        else:
            check_same_log(rows)
            rows = [row for row in rows if row.made]
    return {row.partition: Head(row.generation, row.position) for row in rows}


def verify() -> None:
    """Raise LogUnsuitable, with a hint, unless the database counts from this log."""
    get_log().verify()
    compare(expected_heads())


def counted_heads(*, make: bool = True) -> dict[int, Head]:
    """Return expected_heads(). Raise LogUnsuitable if the database is older than the log."""
    heads: dict[int, Head] = {}
    with suppress(*STORE_ERRORS):  # an unreachable log accepts no ballots, so it needs no check
        heads = get_log().heads()
    expected = expected_heads(make=make)
    _check_nothing_is_missing(expected, heads)
    return expected


def compare(expected: dict[int, Head]) -> None:
    """Raise LogUnsuitable unless the log contains these heads. `expected` may be out of date."""
    heads = get_log().heads()
    if any(n in heads and heads[n].trimmed_past(head.position) for n, head in expected.items()):
        # The log may have been trimmed after `expected` was read, so read the checkpoints again.
        with suppress(*STORE_ERRORS):
            _check_nothing_is_missing(expected_heads(make=False), heads)
    for partition, head in expected.items():
        found = heads.get(partition)
        if found is None or not found.continues(head.generation, head.position):
            raise LogUnsuitable(
                _(
                    "Partition %(partition)s of the vote log is not the one the database counts from,"
                    " or it is an older copy."
                )
                % {"partition": partition},
                hint=_("If no other log holds uncounted ballots, run: python manage.py reconcile_log"),
            )


def _check_nothing_is_missing(counted: dict[int, Head], heads: dict[int, Head]) -> None:
    """Raise LogUnsuitable if the log was trimmed past `counted`, which is newer than `heads`."""
    for partition, head in counted.items():
        found = heads.get(partition)
        if found and found.generation == head.generation and found.trimmed_past(head.position):
            raise LogUnsuitable(
                _(
                    "The database is older than the vote log: up to %(n)s ballots of partition %(partition)s"
                    " were counted only in a newer copy of the database, and the log no longer has them."
                )
                % {"n": found.trimmed - head.position, "partition": partition},
                hint=_(
                    "Restore a newer copy of the database. If there is none, python manage.py reconcile_log"
                    " gives these ballots up."
                ),
            )


def lock_all_checkpoints() -> list[Checkpoint]:
    """Stop all counting until the transaction ends. Lock order: checkpoints, polls, audit log."""
    return list(Checkpoint.objects.select_for_update().order_by("partition"))


def announce(poll_id: int) -> None:
    """Update screens, and trigger workers, which skipped partitions while checkpoints were locked."""
    tally_changed.send_robust(sender=None, poll_ids={poll_id})
    partitions = set(Checkpoint.objects.values_list("partition", flat=True))
    ballots_appended.send_robust(sender=None, partitions=partitions)


def are_counted(positions: Mapping[int, int]) -> bool:
    """Return whether the ballots up to these positions, by partition, are counted."""
    counted = dict(Checkpoint.objects.values_list("partition", "position"))
    return all(counted.get(partition, 0) >= position for partition, position in positions.items())


def backlog() -> int:
    """Count the entries of the log that are not counted yet."""
    counted = dict(Checkpoint.objects.values_list("partition", "position"))
    return sum(max(0, head.position - counted.get(n, 0)) for n, head in get_log().heads().items())


def new_generation() -> str:
    return secrets.token_hex(8)


def check_same_log(rows: list[Checkpoint]) -> None:
    log = get_log()
    if any(row.log != log.name for row in rows) or len(rows) not in (0, log.partitions):
        was = f"{rows[0].log}, {len(rows)}"
        raise LogUnsuitable(
            _(
                "The database counts from another vote log (%(was)s partitions)"
                " than the settings name (%(now)s)."
            )
            % {"was": was, "now": f"{log.name}, {log.partitions}"},
            hint=_(
                "Set VOTE_LOG and VOTE_LOG_PARTITIONS back. If no ballots are uncounted, you can run"
                " reconcile_log instead."
            ),
        )


def _make() -> list[Checkpoint]:
    log = get_log()
    rows = list(Checkpoint.objects.all())
    check_same_log(rows)
    if not rows:
        # Create all rows in one statement, so that no process sees only some of the partitions. Make the log
        # after the rows: a log without rows would look like the log of another installation.
        new = [
            Checkpoint(partition=n, log=log.name, generation=new_generation()) for n in range(log.partitions)
        ]
        Checkpoint.objects.bulk_create(new, ignore_conflicts=True)
    for row in Checkpoint.objects.filter(made=False):
        log.make(row.partition, Head(row.generation, row.position))
        Checkpoint.objects.filter(partition=row.partition).update(made=True)
    rows = list(Checkpoint.objects.all())
    if len(rows) != log.partitions:
        raise LogInconsistent()
    return rows
