"""Celery beat as a process. In embedded mode it runs in a thread instead, without this class."""

import os
import signal
from typing import Any

from celery.apps import beat


class Beat(beat.Beat):
    def install_sync_handler(self, service: Any) -> None:
        """Exit at once on a stop signal: beat has no state to save.

        Celery's own handler closes the schedule, which may be half built, and raises SystemExit wherever the
        signal arrives. In a callback of the garbage collector, Python prints that exception and continues.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
