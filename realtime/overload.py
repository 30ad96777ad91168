"""Detects that this process is overloaded. An overloaded process sends tallies less often.

Four times a second, a sample shows whether ballots were refused or the event loop was late. Overload begins
after two seconds of such samples, and ends after ten seconds without such a sample. A mode that changes often
would be worse than either state.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from analytics.health import modes
from polls.casting import backpressure

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 0.25
#: If a timer fires this many seconds late, all tasks of this event loop are late too.
LATE_SECONDS = 0.25
ON_AFTER_SECONDS = 2.0
OFF_AFTER_SECONDS = 10.0
PUBLISH_SECONDS = 1.0


class OverloadDetector:
    """A flag for overload, with hysteresis. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.overloaded = False
        self._last_ok_at = 0.0
        self._last_short_at = 0.0

    def observe(self, *, short: bool, now: float) -> bool:
        """Take one sample. Return whether `overloaded` has changed."""
        if not short or not self._last_ok_at:
            self._last_ok_at = now
        if short:
            self._last_short_at = now
        before = self.overloaded
        if self.overloaded:
            self.overloaded = now - self._last_short_at < OFF_AFTER_SECONDS
        else:
            self.overloaded = now - self._last_ok_at >= ON_AFTER_SECONDS
        return self.overloaded is not before


async def monitor(overload: OverloadDetector, in_thread: Callable[..., Awaitable[None]]) -> None:
    """Take samples until cancelled. While this process is overloaded, publish the mode `crowded`."""
    published_at = 0.0
    while True:
        due = time.monotonic() + SAMPLE_SECONDS
        await asyncio.sleep(SAMPLE_SECONDS)
        now = time.monotonic()
        if overload.observe(short=now - due > LATE_SECONDS or backpressure.is_refusing(), now=now):
            logger.warning("overloaded" if overload.overloaded else "overload_ended")
        if overload.overloaded and now - published_at >= PUBLISH_SECONDS:
            published_at = now
            await in_thread(modes.publish, modes.CROWDED)
