"""Beat as a process of its own. Embedded mode has one in a thread, and nothing of this."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery.apps import beat


class Beat(beat.Beat):
    def install_sync_handler(self, service: Any) -> None:
        """End at once when told to: there is nothing to put away.

        Celery's own handler closes the schedule, which may be half made, and raises SystemExit wherever the
        process happens to be. In a callback of the garbage collector that is printed and forgotten.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
