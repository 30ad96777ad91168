"""Backpressure: when to refuse casts because too many wait, and whether this process is refusing any."""

import asyncio
import time

from django.conf import settings

#: A queue that hasn't been empty for 100 ms is an overload, not a burst. During an overload, at most 256
#: casts may wait, so that accepted casts are answered soon and the others are refused at once.
STANDING_QUEUE_SECONDS, STANDING_QUEUE_LIMIT = 0.1, 256
#: The overload ends this many seconds after the last refusal.
RECOVERY_SECONDS = 1.0
#: Refusing takes time too. During an overload, this limit is therefore adapted every 50 ms: lowered if the
#: event loop lags by more than 20 ms, otherwise raised. The limit stays between 64 and 256.
LAG_CHECK_SECONDS, MAX_LAG_SECONDS, MIN_STANDING_LIMIT = 0.05, 0.02, 64

_refusing_until = 0.0


def record_refusal(seconds: float) -> None:
    """Record that a ballot was refused because too many wait; make is_refusing() true for `seconds`."""
    global _refusing_until
    _refusing_until = time.monotonic() + seconds


def is_refusing() -> bool:
    """Whether this process is refusing ballots. During a refusal realtime saves CPU time (overload.py)."""
    return time.monotonic() < _refusing_until


class Backpressure:
    """Counts the casts of an event loop that wait for their outcome, and says whether to refuse the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._limit = settings.CAST_QUEUE_LIMIT
        self._size = 0
        self._busy_since = 0.0  # by the loop's clock
        self._standing_limit = STANDING_QUEUE_LIMIT
        self._overloaded_until = 0.0
        self._checks_lag = False

    def enter(self) -> None:
        """Count a cast that begins to wait."""
        if not self._size:
            self._busy_since = self._loop.time()
        self._size += 1

    def leave(self, casts: int) -> None:
        """Count casts that have got their outcomes."""
        self._size -= casts

    @property
    def full(self) -> bool:
        """Whether to refuse the next cast. A burst may fill the queue; a standing queue is kept short."""
        if self._size < self._standing_limit:
            return False
        now = self._loop.time()
        if self._size >= self._limit:
            record_refusal(RECOVERY_SECONDS)
            return True
        if now >= self._overloaded_until:
            if now - self._busy_since <= STANDING_QUEUE_SECONDS:
                return False
            # After a stall of the event loop, the check of the overload before may still be due.
            if not self._checks_lag:
                self._checks_lag = True
                self._loop.call_later(LAG_CHECK_SECONDS, self._check_lag, now + LAG_CHECK_SECONDS)
        self._overloaded_until = now + RECOVERY_SECONDS
        record_refusal(RECOVERY_SECONDS)
        return True

    def _check_lag(self, due: float) -> None:
        """Adapt the standing limit to the event loop's lag, again and again during an overload."""
        now = self._loop.time()
        if now - due > MAX_LAG_SECONDS:
            self._standing_limit = max(MIN_STANDING_LIMIT, self._standing_limit * 3 // 4)
        else:
            self._standing_limit = min(STANDING_QUEUE_LIMIT, self._standing_limit + MIN_STANDING_LIMIT)
        if now < self._overloaded_until:
            self._loop.call_later(LAG_CHECK_SECONDS, self._check_lag, now + LAG_CHECK_SECONDS)
        else:
            self._standing_limit = STANDING_QUEUE_LIMIT
            self._checks_lag = False
