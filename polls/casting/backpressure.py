"""Whether this process turns ballots away, for the floors above: they then make room."""

from __future__ import annotations

import time

_until = 0.0


def record_refusal(seconds: float) -> None:
    """Somebody has been turned away just now; we go without what can wait for so long."""
    global _until
    _until = time.monotonic() + seconds


def is_refusing() -> bool:
    return time.monotonic() < _until
