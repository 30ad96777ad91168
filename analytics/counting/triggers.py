"""Triggers: Celery tasks that tell the workers that a partition has new ballots.

At most one trigger per partition is pending. A flag in the cache tells all processes about a pending trigger.
The worker clears the flag before it reads the log, so that ballots appended later send a new trigger. If a
flag or a task is lost, the next sweep counts the ballots.
"""

import logging
import os
import threading
import time
from typing import Any

from celery import current_app
from django.core.cache import cache

logger = logging.getLogger(__name__)

_PENDING_SECONDS = 2
#: The pause between two rounds of triggers. Under load, ballots are appended every few milliseconds, and a
#: worker that is counting finds them anyway.
_PAUSE_SECONDS = 0.05


def _pending_key(partition: int) -> str:
    return f"wake:{partition}"


class TriggerSender:
    """Sends triggers from a thread, so that an unreachable broker delays no response."""

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
                    logger.warning("trigger_not_sent", extra={"partition": partition}, exc_info=True)
            time.sleep(_PAUSE_SECONDS)


def _send(partition: int) -> None:
    if not cache.add(_pending_key(partition), 1, _PENDING_SECONDS):
        return
    try:
        current_app.send_task("analytics.tasks.count", (partition,), retry=False)
    except Exception:
        clear_pending(partition)  # the next append then sends a trigger again
        raise


_sender = TriggerSender()


def on_ballots_appended(sender: Any, partitions: set[int], **_: Any) -> None:
    _sender.trigger(partitions)


def clear_pending(partition: int) -> None:
    """Allow the next trigger for a partition. A worker calls this when it receives a trigger."""
    try:
        cache.delete(_pending_key(partition))
    except Exception:
        logger.warning("trigger_flag_not_cleared", extra={"partition": partition}, exc_info=True)
