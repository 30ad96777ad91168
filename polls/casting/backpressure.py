"""Whether this process is refusing ballots. While it does, realtime saves CPU time (realtime/overload.py)."""

import time

_refusing_until = 0.0


def record_refusal(seconds: float) -> None:
    """Record that a ballot was refused because the queue is full; make is_refusing() true for `seconds`."""
    global _refusing_until
    _refusing_until = time.monotonic() + seconds


def is_refusing() -> bool:
    return time.monotonic() < _refusing_until
