"""Celery tasks. Tasks carry no data, so a task that is lost or runs twice does no harm."""

import logging
import time
from typing import Any

from celery import shared_task
from django.conf import settings

from analytics.audit import bundles, purge
from analytics.counting import batches, cache_locks, closing, resuming, stepped_results, triggers
from analytics.health import heartbeats
from analytics.quarantine import moves
from analytics.recovery import stuck_copies
from polls import lifecycle
from polls.errors import LogInconsistent
from polls.votelog import get_log

logger = logging.getLogger(__name__)

#: Sweeps pile up in the queue while no worker runs. When workers return, they start at most one sweep in this
#: time.
_SWEPT_SECONDS = max(1, int(settings.SWEEP_SECONDS / 2))
#: The lock on counting a partition expires after this, unless it is extended.
_COUNTING_SECONDS = 1


@shared_task(ignore_result=True)
def count(partition: int) -> None:
    """Count a partition that has new ballots."""
    # Clear the flag before the log is read, so that ballots appended after the read send a new trigger.
    triggers.clear_pending(partition)
    _count(partition)


def _count(partition: int) -> None:
    """Count a partition, unless another worker is counting it. Two workers would have smaller batches."""
    lock = f"counting:{partition}"

    def pause(seconds: float) -> None:
        cache_locks.extend(lock, _COUNTING_SECONDS)
        time.sleep(seconds)

    while cache_locks.try_lock(lock, _COUNTING_SECONDS):
        try:
            counted = batches.count_partition(partition, pause)
        finally:
            cache_locks.unlock(lock)
        if counted is None:
            return  # another worker counts the partition, though its cache lock expired
        # Other tasks found the partition locked and ended, so this task must count the ballots that they were
        # sent for.
        if not batches.is_behind(partition):
            return


@shared_task(bind=True, ignore_result=True)
def sweep(task: Any) -> None:
    """Catch up after a crash, a lost trigger or an unreachable store."""
    if not task.request.called_directly and not cache_locks.try_lock("began:sweep", _SWEPT_SECONDS):
        return
    heartbeats.record("sweep")
    _end_stuck_copies()
    lifecycle.set_missing_gates()
    for partition in range(get_log().partitions):
        try:
            _count(partition)
        except LogInconsistent:
            logger.critical("log_inconsistent", extra={"partition": partition})
        except Exception:
            # One partition that fails must not keep the others from being counted.
            logger.exception("partition_not_counted", extra={"partition": partition})
    closing.close_counted_polls()
    stepped_results.catch_up()
    moves.resume_releases()
    resuming.continue_resumed()


def _end_stuck_copies() -> None:
    try:
        stuck_copies.end_copies()
    except Exception:
        # The database may refuse access to its sessions, which must not stop the counting.
        logger.warning("stuck_copies_not_looked_for", exc_info=True)


@shared_task(ignore_result=True)
def tick() -> None:
    """Open and close the polls that are due."""
    lifecycle.run_due_steps()


@shared_task(ignore_result=True)
def make_bundles() -> None:
    """Make the audit bundles of rounds that have just been published."""
    bundles.make_missing_bundles()


@shared_task(ignore_result=True)
def upkeep() -> None:
    """Make bundles whose task was lost, and purge polls at the end of retention. This work isn't urgent."""
    bundles.make_missing_bundles()
    purge.purge_by_retention()
