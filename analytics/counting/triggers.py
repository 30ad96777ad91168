"""Wake-ups for the counting workers: at most one pending per partition, off the answer's path.

The flag of a pending wake-up lives in the cache, which all processes share; the worker
takes it down before it looks at the log, so that whoever appends after that look raises
it again. A flag or a task that is lost costs a sweep's wait and nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from celery import current_app
from django.core.cache import cache

logger = logging.getLogger(__name__)

_PENDING_SECONDS = 2
#: Between two rounds of wake-ups: under load there is an append every few milliseconds, and a worker that
#: counts meanwhile finds them all.
_PAUSE_SECONDS = 0.05


def _pending_key(partition: int) -> str:
    return f"wake:{partition}"


class TriggerSender:
    """A thread that hands wake-ups to Celery, so that an absent broker holds nobody up."""

    def __init__(self) -> None:
        self._due: set[int] = set()
        self._condition = threading.Condition()
        self._pid = 0

    def trigger(self, partitions: set[int]) -> None:
        with self._condition:
            self._due |= partitions
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="triggers", daemon=True).start()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._due:
                    self._condition.wait()
                partitions, self._due = self._due, set()
            for partition in partitions:
                try:
                    _send(partition)
                except Exception:
                    logger.warning("wake_up_not_sent", extra={"partition": partition}, exc_info=True)
            time.sleep(_PAUSE_SECONDS)


def _send(partition: int) -> None:
    if not cache.add(_pending_key(partition), 1, _PENDING_SECONDS):
        return
    try:
        current_app.send_task("analytics.tasks.count", (partition,), retry=False)
    except Exception:
        clear_pending(partition)  # nobody was woken, so the next one may try
        raise


_sender = TriggerSender()


def on_ballots_appended(sender: Any, partitions: set[int], **_: Any) -> None:
    _sender.trigger(partitions)


def clear_pending(partition: int) -> None:
    """The pending wake-up of a partition is being served; the next one may come."""
    try:
        cache.delete(_pending_key(partition))
    except Exception:
        logger.warning("wake_up_flag_stays", extra={"partition": partition}, exc_info=True)
