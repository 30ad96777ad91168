"""Whether this process refuses ballots at the moment, so that the layers above use less of its time."""

import time

_refusing_until = 0.0


def record_refusal(seconds: float) -> None:
    """Record that a ballot was refused because the queue is full; it counts for this many seconds."""
    global _refusing_until
    _refusing_until = time.monotonic() + seconds


def is_refusing() -> bool:
    return time.monotonic() < _refusing_until
