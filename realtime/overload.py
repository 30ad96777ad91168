"""Whether this process is crowded, so that showing has to make room for accepting.

It is when ballots are turned away or the event loop is late at every look for a while, and no more once
it has had none of that for a good while longer: a mode that flaps would be worse than either.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from analytics.health import modes
from polls.casting import backpressure

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
#: A look that comes so much (seconds) too late: nothing else on this loop was any more punctual.
LATE_SECONDS = 0.25
BEGINS_AFTER = 2.0
ENDS_AFTER = 10.0
PUBLISH_EVERY = 1.0


class Strain:
    """What the looks came to. Times are a monotonic clock's seconds."""

    def __init__(self) -> None:
        self.crowded = False
        self._well_at = 0.0
        self._short_at = 0.0

    def look(self, *, short: bool, now: float) -> bool:
        """Take note of one look; whether `crowded` has changed."""
        if not self._well_at:
            self._well_at = now
        if short:
            self._short_at = now
        else:
            self._well_at = now
        before = self.crowded
        if self.crowded:
            self.crowded = now - self._short_at < ENDS_AFTER
        else:
            self.crowded = now - self._well_at >= BEGINS_AFTER
        return self.crowded is not before


async def keep_looking(strain: Strain, in_thread: Callable[..., Awaitable[None]]) -> None:
    """For ever. While it is crowded, the other processes and the admin are told."""
    published_at = 0.0
    while True:
        due = time.monotonic() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        now = time.monotonic()
        if strain.look(short=now - due > LATE_SECONDS or backpressure.turning_away(), now=now):
            logger.warning("crowded" if strain.crowded else "not_crowded_any_more")
        if strain.crowded and now - published_at >= PUBLISH_EVERY:
            published_at = now
            await in_thread(modes.publish, modes.CROWDED)
