"""Count a partition of the vote log, batch by batch, each ballot exactly once.

A batch is one database transaction. The transaction writes the ledger and the tally, and moves the
partition's checkpoint. After a crash at any point the batch is rolled back and counted again. A worker that
loses the lock of its checkpoint loses its transaction too.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connection, transaction

from analytics.counting import circuit_breaker, closing, held_ballots, stepped_results, trimming
from analytics.counting.block_counting import count_blocks
from analytics.counting.circuit_breaker import FailureCounts, TooManyFailures
from analytics.counting.quarantine_assignment import standing_decisions
from analytics.models import Checkpoint, Halt
from analytics.signals import tally_changed
from polls import timings
from polls.db_connections import sqlite_write_turn
from polls.errors import LogInconsistent
from polls.votelog import get_log
from polls.votelog.entries import Block, Head

#: The least time between the starts of two batches, unless a full batch is waiting. Even a small batch has a
#: fixed cost, and screens are updated at most ten times a second.
BATCH_INTERVAL_SECONDS = 0.05
#: A slow batch shows that CPU time is short. The pause after a batch is at least PAUSE_FACTOR times as long
#: as the batch, up to a maximum that viewers hardly notice.
PAUSE_FACTOR, MAX_PAUSE_SECONDS = 4, 0.2

_SELECT_CHECKPOINT = "SELECT * FROM analytics_checkpoint WHERE partition = %s AND made"
_MOVE_CHECKPOINT = "UPDATE analytics_checkpoint SET position = %s WHERE partition = %s"


@dataclass(slots=True)
class Batch:
    """The ballots that one transaction counted."""

    position: int
    entries: int = 0
    poll_ids: set[int] = field(default_factory=set)
    has_closing_markers: bool = False
    failure_counts: FailureCounts | None = None
    stepped_polls: set[int] = field(default_factory=set)


def count_partition(partition: int, pause: Callable[[float], None] | None = None) -> int | None:
    """Count all entries of a partition. Return their number, or None if another worker has the partition.

    The other worker reads the log once more after its last batch, so no entry is left uncounted. While less
    than a full batch is waiting, `pause` is called with the seconds until the next batch should start.
    """
    counted = 0
    while True:
        begun = time.monotonic()
        batch = _next_batch(partition)
        if batch is None:
            return counted or None
        if batch.entries:
            timings.COUNT.observe(time.monotonic() - begun)
        counted += batch.entries
        if batch.failure_counts:
            circuit_breaker.record_batch(partition, batch.failure_counts)
        if batch.stepped_polls:
            stepped_results.advance(batch.stepped_polls)
        if batch.poll_ids:
            # send_robust: a receiver that fails must not stop the counting.
            tally_changed.send_robust(sender=None, poll_ids=batch.poll_ids)
        if batch.has_closing_markers:
            closing.close_counted_polls()
        # Read the head again without the lock, since other workers skipped the partition while it was locked.
        head = get_log().head(partition)
        if head is None or head.position <= batch.position:
            return counted
        if pause and head.position - batch.position < settings.COUNT_BATCH:
            took = time.monotonic() - begun
            pause(min(max(BATCH_INTERVAL_SECONDS - took, PAUSE_FACTOR * took), MAX_PAUSE_SECONDS))


def is_behind(partition: int) -> bool:
    """Return whether the log has uncounted entries. Takes no lock."""
    position = Checkpoint.objects.filter(partition=partition).values_list("position", flat=True).first()
    head = get_log().head(partition)
    return position is not None and head is not None and head.position > position


def _next_batch(partition: int) -> Batch | None:
    """Count a batch. If most ballots of a poll fail, halt that poll and count the batch again."""
    halt: dict[int, str] = {}
    while True:
        try:
            batch = _count_batch(partition, halt)
        except TooManyFailures as error:
            halt |= error.reasons
            continue
        if halt:
            circuit_breaker.watch_all_partitions()
        return batch


def _count_batch(partition: int, halt: Mapping[int, str]) -> Batch | None:
    log = get_log()
    with sqlite_write_turn(), transaction.atomic(durable=True):
        checkpoint = _lock_checkpoint(partition)
        if checkpoint is None:
            return None
        head = log.head(partition)
        blocks = log.read(partition, checkpoint.position, settings.COUNT_BATCH)
        _check_log(checkpoint, head, blocks)
        batch = Batch(checkpoint.position, sum(map(len, blocks)))
        trim_due = trimming.is_due(checkpoint)
        if trim_due:
            trimming.trim(log, checkpoint)
        if blocks:
            ballots = [block for block in blocks if block.kind == "ballot"]
            if halt or checkpoint.watch:
                ballots = _hold_halted(partition, ballots, halt)
                checkpoint.watch = True
            batch.failure_counts, batch.stepped_polls = count_blocks(
                partition, ballots, checkpoint.generation, watch=checkpoint.watch
            )
            batch.position = checkpoint.position = blocks[-1].last
            batch.poll_ids = {block.poll_id for block in ballots}
            batch.has_closing_markers = len(ballots) < len(blocks)
        if blocks or trim_due:
            watched = checkpoint.watch
            checkpoint.watch = watched and (standing_decisions().exists() or Halt.objects.exists())
            _move_checkpoint(checkpoint, trim_due or bool(halt) or watched != checkpoint.watch)
    return batch


def _hold_halted(partition: int, blocks: list[Block], halt: Mapping[int, str]) -> list[Block]:
    """Halt the polls in `halt`, hold all ballots of halted polls, and return the other ballots."""
    circuit_breaker.halt(halt)
    halted = circuit_breaker.halted_polls({block.poll_id for block in blocks})
    held_ballots.hold(partition, [block for block in blocks if block.poll_id in halted])
    return [block for block in blocks if block.poll_id not in halted]


def _lock_checkpoint(partition: int) -> Checkpoint | None:
    """Lock and return the partition's checkpoint. Return None if another worker has locked it."""
    # This function and _move_checkpoint use plain SQL. In a small batch, the ORM would take most of the time.
    skip = " FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    rows = Checkpoint.objects.raw(f"{_SELECT_CHECKPOINT}{skip}", [partition])
    return next(iter(rows), None)


def _move_checkpoint(checkpoint: Checkpoint, all_fields: bool) -> None:
    if all_fields:
        checkpoint.save(update_fields=["position", "trim_to", "trim_noted_at", "watch"])
        return
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_CHECKPOINT, [checkpoint.position, checkpoint.partition])


def _check_log(checkpoint: Checkpoint, head: Head | None, blocks: Sequence[Block]) -> None:
    """Raise LogInconsistent unless the log continues at the checkpoint without a gap."""
    if head is None or not head.continues(checkpoint.generation, checkpoint.position):
        raise LogInconsistent(f"The log of partition {checkpoint.partition} isn't the one that was counted.")
    position = checkpoint.position
    # The head was read before the blocks: if it is past the checkpoint, there must be blocks.
    contiguous = bool(blocks) or head.position == position
    for block in blocks:
        contiguous = contiguous and block.first == position + 1
        position = block.last
    if not contiguous:
        raise LogInconsistent(f"The log of partition {checkpoint.partition} has a gap after the checkpoint.")
