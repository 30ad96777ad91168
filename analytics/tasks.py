"""Celery tasks: wake-ups only. Losing or doubling one is harmless."""

from __future__ import annotations

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

#: Sweeps pile up while no worker runs; one does for all of them.
_SWEPT_SECONDS = max(1, int(settings.SWEEP_SECONDS / 2))
#: How long a partition stays locked by a worker that neither pauses nor ends.
_COUNTING_SECONDS = 1


@shared_task(ignore_result=True)
def count(partition: int) -> None:
    """Look at this partition."""
    # Before the look: whoever appends from here on raises it again.
    triggers.clear_pending(partition)
    _count(partition)


def _count(partition: int) -> None:
    """Count what waits, unless somebody does so already: two would only halve each other's batches."""
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
            return  # one that is slow or hangs, and whose mark has faded: the next sweep looks again
        # Whoever came while we were at it has left it to us.
        if not batches.is_behind(partition):
            return


@shared_task(bind=True, ignore_result=True)
def sweep(task: Any) -> None:
    """Whatever a crash, a lost wake-up or an absent store left behind."""
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
            # What is wrong with one partition must not keep the others from being counted.
            logger.exception("partition_not_counted", extra={"partition": partition})
    closing.close_counted_polls()
    stepped_results.catch_up()
    moves.go_on()
    resuming.continue_resumed()


def _end_stuck_copies() -> None:
    try:
        stuck_copies.end_copies()
    except Exception:
        # A database that lets nobody look at its sessions is no reason to count nothing.
        logger.warning("stuck_copies_not_looked_for", exc_info=True)


@shared_task(ignore_result=True)
def tick() -> None:
    """Open and close what is due."""
    lifecycle.run_due_steps()


@shared_task(ignore_result=True)
def make_bundles() -> None:
    """The audit bundles of rounds that have just been published."""
    bundles.make_missing()


@shared_task(ignore_result=True)
def upkeep() -> None:
    """What may wait for some seconds: bundles whose task was lost, and what is kept for long enough."""
    bundles.make_missing()
    purge.purge_by_retention()
