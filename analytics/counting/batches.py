"""From the vote log into ledger and tally, exactly once.

One batch is one database transaction that also moves the partition's position. A crash
anywhere repeats the batch with no effect twice, and a worker that lost its lock finds its
transaction gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from analytics.counting import circuit_breaker, ledger, stepped_results, tally_deltas
from analytics.counting.circuit_breaker import Halting, Verdicts
from analytics.counting.quarantine_assignment import decisions_for, standing
from analytics.counting.validation import Judge, Misfit
from analytics.models import Checkpoint, Halt, HeldBlock
from analytics.results.final_results import final_result
from analytics.signals import tally_changed
from polls import lifecycle
from polls.db_connections import in_turn
from polls.errors import LogInconsistent, Unavailable
from polls.models import DeadLetter, Poll, State
from polls.text.timestamps import from_milliseconds
from polls.votelog import get_log
from polls.votelog.contract import VoteLog
from polls.votelog.entries import Block, Entry, Head

logger = logging.getLogger(__name__)

#: Entries are trimmed once they have been counted for this long: a replica or a repair may want them.
KEEP_COUNTED = timedelta(minutes=1)

#: From the start of one batch to that of the next, as long as less than a whole one waits. A batch has its
#: price however small it is, and screens are told ten times a second at most.
BATCH_SECONDS = 0.05
#: Where batches take long because the processor is short, they come less often: the pause is so many times as
#: long as the batch, up to a bound that screens hardly notice.
PAUSE_OF_BATCH, LONGEST_PAUSE_SECONDS = 4, 0.2

_SELECT_CHECKPOINT = "SELECT * FROM analytics_checkpoint WHERE partition = %s AND made"
_MOVE_CHECKPOINT = "UPDATE analytics_checkpoint SET position = %s WHERE partition = %s"


@dataclass(slots=True)
class Batch:
    """What one transaction counted."""

    position: int
    entries: int = 0
    poll_ids: set[int] = field(default_factory=set)
    closes: bool = False
    verdicts: Verdicts | None = None
    stepped: set[int] = field(default_factory=set)


def count_partition(partition: int, gather: Callable[[float], None] | None = None) -> int | None:
    """Count until the partition's log is empty; how many entries were counted, None if another worker has it.

    That one looks again after it has let go, so nothing is left behind. `gather` is called with
    the seconds that are left until the next batch should begin, wherever less than a whole batch waits.
    """
    counted = 0
    while True:
        begun = time.monotonic()
        batch = _next_batch(partition)
        if batch is None:
            return counted or None
        counted += batch.entries
        if batch.verdicts:
            circuit_breaker.note(partition, batch.verdicts)
        if batch.stepped:
            stepped_results.advance(batch.stepped)
        if batch.poll_ids:
            # Robust: a screen that can't be told must not keep the next ballots from being counted.
            tally_changed.send_robust(sender=None, poll_ids=batch.poll_ids)
        if batch.closes:
            settle_closings()
        # Once more, now that we have let go: who came meanwhile passed by the partition that we held.
        head = get_log().head(partition)
        if head is None or head.position <= batch.position:
            return counted
        if gather and head.position - batch.position < settings.COUNT_BATCH:
            took = time.monotonic() - begun
            gather(min(max(BATCH_SECONDS - took, PAUSE_OF_BATCH * took), LONGEST_PAUSE_SECONDS))


def is_behind(partition: int) -> bool:
    """Whether the log has entries that aren't counted: two short looks, and no lock."""
    position = Checkpoint.objects.filter(partition=partition).values_list("position", flat=True).first()
    head = get_log().head(partition)
    return position is not None and head is not None and head.position > position


def _next_batch(partition: int) -> Batch | None:
    """Count a batch; where most ballots of a poll turn out to fail, once more with that poll halted."""
    halt: dict[int, str] = {}
    while True:
        try:
            batch = _count_batch(partition, halt)
        except Halting as found:
            halt |= found.reasons
            continue
        if halt:
            circuit_breaker.spread()
        return batch


def _count_batch(partition: int, halt: Mapping[int, str]) -> Batch | None:
    log = get_log()
    with in_turn(), transaction.atomic(durable=True):
        checkpoint = _locked_checkpoint(partition)
        if checkpoint is None:
            return None
        head = log.head(partition)
        blocks = log.read(partition, checkpoint.position, settings.COUNT_BATCH)
        _check_log(checkpoint, head, blocks)
        batch = Batch(checkpoint.position, sum(map(len, blocks)))
        due = _is_due_for_trimming(checkpoint)
        if due:
            _trim(log, checkpoint)
        if blocks:
            ballots = [block for block in blocks if block.kind == "ballot"]
            if halt or checkpoint.watch:
                ballots = _hold_halted(partition, ballots, halt)
                checkpoint.watch = True
            batch.verdicts, batch.stepped = _count_blocks(
                partition, ballots, checkpoint.generation, watch=checkpoint.watch
            )
            batch.position = checkpoint.position = blocks[-1].last
            batch.poll_ids = {block.poll_id for block in ballots}
            batch.closes = len(ballots) < len(blocks)
        if blocks or due:
            watched = checkpoint.watch
            checkpoint.watch = watched and (standing().exists() or Halt.objects.exists())
            _move(checkpoint, due or bool(halt) or watched != checkpoint.watch)
    return batch


def _hold_halted(partition: int, blocks: list[Block], halt: Mapping[int, str]) -> list[Block]:
    """Keep the ballots of polls that are halted, or have to be now; the other ballots."""
    circuit_breaker.halt(halt)
    halted = circuit_breaker.halted({block.poll_id for block in blocks})
    circuit_breaker.hold(partition, [block for block in blocks if block.poll_id in halted])
    return [block for block in blocks if block.poll_id not in halted]


def _locked_checkpoint(partition: int) -> Checkpoint | None:
    """The partition's checkpoint, ours until the transaction ends; None where another worker has it."""
    # In SQL here and when it is moved: on a small batch the ORM would cost more than the ballots do.
    skip = " FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    rows = Checkpoint.objects.raw(f"{_SELECT_CHECKPOINT}{skip}", [partition])
    return next(iter(rows), None)


def _move(checkpoint: Checkpoint, wholly: bool) -> None:
    if wholly:
        checkpoint.save(update_fields=["position", "trim_to", "trim_noted_at", "watch"])
        return
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_CHECKPOINT, [checkpoint.position, checkpoint.partition])


def _check_log(checkpoint: Checkpoint, head: Head | None, blocks: Sequence[Block]) -> None:
    """`head` was read before `blocks`: what it names must be among them."""
    if head is None or not head.continues(checkpoint.generation, checkpoint.position):
        raise LogInconsistent(f"Partition {checkpoint.partition} is not the log that was counted from.")
    position = checkpoint.position
    contiguous = bool(blocks) or head.position == position
    for block in blocks:
        contiguous = contiguous and block.first == position + 1
        position = block.last
    if not contiguous:
        raise LogInconsistent(f"Partition {checkpoint.partition} lacks entries behind the checkpoint.")


def _is_due_for_trimming(checkpoint: Checkpoint) -> bool:
    if checkpoint.trim_noted_at is None:
        return checkpoint.trim_to < checkpoint.position
    return timezone.now() - checkpoint.trim_noted_at >= KEEP_COUNTED


def _trim(log: VoteLog, checkpoint: Checkpoint) -> None:
    """Before the commit, and safe: all this was counted by transactions that are long over.

    A store that takes no writes just now must not keep ballots from being counted: the next batch tries.
    """
    try:
        log.trim(checkpoint.partition, checkpoint.trim_to)
    except Unavailable as error:
        logger.warning("log_not_trimmed", extra={"partition": checkpoint.partition, "error": str(error)})
    else:
        _note_for_trimming(checkpoint)


def _note_for_trimming(checkpoint: Checkpoint) -> None:
    """What is counted by now is trimmed next time; no note once there is nothing left to trim."""
    left = checkpoint.trim_to < checkpoint.position
    checkpoint.trim_noted_at = timezone.now() if left else None
    checkpoint.trim_to = checkpoint.position


def _count_blocks(
    partition: int,
    blocks: Sequence[Block],
    generation: str = "",
    *,
    watch: bool = True,
    let_fail: bool = False,
) -> tuple[Verdicts, set[int]]:
    """Ledger, tally and dead letters of these ballots, in the transaction that is under way.

    Returns what came of them, and which of their polls have tallies that move in steps. Halting where most
    ballots of a poll fail, unless that is wanted; what was done has to be undone then.
    """
    check = circuit_breaker.count_only if let_fail else circuit_breaker.check
    judge = Judge({(block.poll_id, block.round) for block in blocks}, generation)
    plain, others = judge.sort(blocks)
    good, misfits = judge.divide(others)
    if misfits:
        check(partition, blocks, misfits)
    # At once: a ballot that replaces one of these looks for it there.
    _set_aside(partition, misfits)
    refused = _book(partition, judge, plain, good, look=watch)
    verdicts = check(partition, blocks, [*misfits, *refused])
    _set_aside(partition, refused)
    return verdicts, judge.stepped_polls


def count_held(partition: int, blocks: Sequence[Block], *, let_fail: bool) -> None:
    """Count ballots of a halted poll. Needs every partition's lock."""
    _count_blocks(partition, blocks, let_fail=let_fail)


def count_entry(partition: int, entry: Entry) -> str:
    """Count one entry that was set aside; the reason where it still can't be. Needs the partition's lock."""
    judge = Judge({(entry.poll_id, entry.round)})
    good, misfits = judge.divide([entry])
    misfits += _book(partition, judge, [], good)
    return " ".join(f"{reason} {detail}".strip() for _, reason, detail in misfits)


def _book(
    partition: int, judge: Judge, plain: Sequence[Block], others: Sequence[Entry], *, look: bool = True
) -> list[Misfit]:
    """Valid ballots into ledger and tally; those for which the ledger has no place."""
    decisions = decisions_for([*plain, *others], look=look)
    collapsed, seconds = ledger.collapse(others, decisions)
    written = ledger.write(decisions.group(plain), collapsed)
    tally_deltas.add(partition, tally_deltas.delta_of(written, judge))
    return [(entry, "already_counted", "") for entry in (*seconds, *written.refused)]


def _set_aside(partition: int, misfits: Sequence[Misfit]) -> None:
    for entry, reason, _detail in misfits:
        logger.error(
            "dead_letter", extra={"poll": entry.poll_id, "position": entry.position, "reason": reason}
        )
    DeadLetter.objects.bulk_create(
        DeadLetter(
            partition=partition,
            position=entry.position,
            poll_id=entry.poll_id,
            round=entry.round,
            voter_key=entry.voter_key,
            ballot_id=entry.ballot_id,
            selection=_storable(entry.selection),
            replaces=entry.replaces,
            aside=entry.aside[:20],
            accepted_at=from_milliseconds(entry.at) if entry.at else None,
            reason=reason,
            detail=detail,
        )
        for entry, reason, detail in misfits
    )


def _storable(text: str) -> str:
    """What set an entry aside may be that it isn't text; it must not stop the rest."""
    return text.replace("\0", "\ufffd")[:400]


def settle_closings() -> None:
    """closing → closed for every poll whose closing markers have all been counted."""
    for poll in Poll.objects.filter(state=State.CLOSING):
        try:
            _settle_closing(poll)
        except Exception:
            # What is wrong with one poll must not keep the others from closing.
            logger.exception("closing_not_settled", extra={"poll": poll.pk})


def _settle_closing(poll: Poll) -> None:
    if HeldBlock.objects.filter(poll_id=poll.pk, round=poll.round).exists():
        return  # a result without them would be wrong
    markers = lifecycle.closing_markers(poll)
    counted = dict(Checkpoint.objects.values_list("partition", "position"))
    if len(markers) < get_log().partitions:
        return
    if any(counted.get(marker.partition, 0) < marker.position for marker in markers):
        return
    with transaction.atomic():
        # Under the poll's lock, as a dead letter that is counted meanwhile: one of the two sees the other.
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        closed_at = max(marker.closed_at for marker in markers)
        if locked.release_step > 1:
            stepped_results.finish(locked, locked.round)
        lifecycle.finish_closing(poll.pk, poll.round, closed_at, final_result(locked))
