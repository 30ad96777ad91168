"""Celery tasks: wake-ups only. Losing or doubling one is harmless."""

from __future__ import annotations

import logging

from celery import shared_task

from polls import lifecycle
from polls.errors import LogInconsistent
from polls.votelog import get_log

from . import counting, health, wakeups

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def count(partition: int) -> None:
    """Look at this partition."""
    counting.count_partition(partition)
    wakeups.take_down(partition)
    # Whoever appended before the flag came down saw it up and sent nothing: look once more.
    counting.count_partition(partition)


@shared_task(ignore_result=True)
def sweep() -> None:
    """Whatever a crash, a lost wake-up or an absent store left behind."""
    health.pulse("sweep")
    lifecycle.follow_gates()
    for partition in range(get_log().partitions):
        try:
            counting.count_partition(partition)
        except LogInconsistent:
            logger.critical("log_inconsistent", extra={"partition": partition})
        except Exception:
            # What is wrong with one partition must not keep the others from being counted.
            logger.exception("partition_not_counted", extra={"partition": partition})
    counting.settle_closings()


@shared_task(ignore_result=True)
def tick() -> None:
    """Open and close what is due."""
    lifecycle.act_on_time()
