"""Whether this process is overloaded, so that showing has to make room for accepting.

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

SAMPLE_SECONDS = 0.25
#: A look that comes so much (seconds) too late: nothing else on this loop was any more punctual.
LATE_SECONDS = 0.25
ON_AFTER_SECONDS = 2.0
OFF_AFTER_SECONDS = 10.0
PUBLISH_SECONDS = 1.0


class OverloadDetector:
    """What the looks came to. Times are a monotonic clock's seconds."""

    def __init__(self) -> None:
        self.overloaded = False
        self._last_ok_at = 0.0
        self._last_short_at = 0.0

    def observe(self, *, short: bool, now: float) -> bool:
        """Take note of one look; whether `overloaded` has changed."""
        if not self._last_ok_at:
            self._last_ok_at = now
        if short:
            self._last_short_at = now
        else:
            self._last_ok_at = now
        before = self.overloaded
        if self.overloaded:
            self.overloaded = now - self._last_short_at < OFF_AFTER_SECONDS
        else:
            self.overloaded = now - self._last_ok_at >= ON_AFTER_SECONDS
        return self.overloaded is not before


async def monitor(overload: OverloadDetector, in_thread: Callable[..., Awaitable[None]]) -> None:
    """For ever. While it is overloaded, the other processes and the admin are told."""
    published_at = 0.0
    while True:
        due = time.monotonic() + SAMPLE_SECONDS
        await asyncio.sleep(SAMPLE_SECONDS)
        now = time.monotonic()
        if overload.observe(short=now - due > LATE_SECONDS or backpressure.is_refusing(), now=now):
            logger.warning("overloaded" if overload.overloaded else "not_crowded_any_more")
        if overload.overloaded and now - published_at >= PUBLISH_SECONDS:
            published_at = now
            await in_thread(modes.publish, modes.CROWDED)
