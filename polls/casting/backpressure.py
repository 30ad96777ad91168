"""Whether this process turns ballots away, for the floors above: they then make room."""

from __future__ import annotations

import time

_until = 0.0


def turned_away(seconds: float) -> None:
    """Somebody has been turned away just now; we go without what can wait for so long."""
    global _until
    _until = time.monotonic() + seconds


def turning_away() -> bool:
    return time.monotonic() < _until
