"""Resume the counting of a halted poll: count its held ballots in their original order."""

import logging
import time
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from analytics.counting import block_counting, circuit_breaker, closing, held_ballots
from analytics.counting.checkpoints import announce, lock_all_checkpoints
from analytics.counting.circuit_breaker import TooManyFailures
from analytics.models import Halt, HeldBlock
from polls.audit_log import record
from polls.errors import IllegalState
from polls.models import Poll

logger = logging.getLogger(__name__)

#: How long a page or a sweep counts held ballots. The next sweep counts the remaining ballots.
PAGE_SECONDS = 2.0


def resume(
    poll: Poll,
    by: str,
    *,
    let_fail: bool = False,
    seconds: float = PAGE_SECONDS,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Resume counting. Return whether all held ballots are counted. The sweep counts the remaining ballots.

    Ballots that fail become dead letters. Unless `let_fail` is true, the poll halts again if most ballots
    fail.
    """
    with transaction.atomic():
        row = Halt.objects.select_for_update().filter(poll_id=poll.pk).first()
        if row is None:
            raise IllegalState(_("The counting of this poll isn't halted."))
        row.resumed_by, row.let_fail = by[:200], let_fail
        row.save(update_fields=["resumed_by", "let_fail"])
        ballots = held_ballots.count_ballots(poll.pk)
        record(by, "counting resumed", poll.code, ballots=ballots, let_fail=let_fail)
    return _count_until(row, seconds, progress)


def continue_resumed() -> None:
    """Continue counting resumed polls, and make all partitions watch for halted polls."""
    for row in Halt.objects.all():
        if row.resumed_by:
            _count_until(row, PAGE_SECONDS)
        else:
            circuit_breaker.watch_all_partitions()


def _count_until(row: Halt, seconds: float, progress: Callable[[int], None] | None = None) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            counted = _count_batch(row)
        except TooManyFailures as error:
            _stay_halted(row, error.reasons[row.poll_id])
            return False
        if progress:
            progress(counted)
        announce(row.poll_id)
        if not counted:
            closing.close_counted_polls()
            return True
    return False


def _count_batch(row: Halt) -> int:
    """Count the oldest held ballots as a batch, and return its size. If no ballot is held, end the halt."""
    with transaction.atomic():
        # Lock all partitions: after a repair of the log, a voter's ballots may be held in several.
        lock_all_checkpoints()
        if not Halt.objects.filter(poll_id=row.poll_id).exists():
            return 0
        rows = _next_rows(row.poll_id)
        if not rows:
            Halt.objects.filter(poll_id=row.poll_id).delete()
        for partition, group in groupby(rows, key=attrgetter("partition")):
            blocks = [held_ballots.unpack(held) for held in group]
            block_counting.count_blocks(partition, blocks, let_fail=row.let_fail)
        HeldBlock.objects.filter(pk__in=[held.pk for held in rows]).delete()
    return sum(held.ballots for held in rows)


def _next_rows(poll_id: int) -> list[HeldBlock]:
    rows: list[HeldBlock] = []
    ballots = 0
    for row in HeldBlock.objects.filter(poll_id=poll_id).order_by("pk")[: settings.COUNT_BATCH]:
        if rows and ballots + row.ballots > settings.COUNT_BATCH:
            break
        rows.append(row)
        ballots += row.ballots
    return rows


def _stay_halted(row: Halt, reason: str) -> None:
    Halt.objects.filter(poll_id=row.poll_id).update(resumed_by="", reason=reason)
    logger.error("counting_halted", extra={"poll": row.poll_id, "reason": reason})
