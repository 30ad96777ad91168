"""The vote log's clock, as this process knows it.

Passes, proofs of work and suspicions end by it, so that a web host whose own clock is wrong neither
refuses good ones nor takes old ones.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: Seconds by which the store's clock is ahead of ours.
_offset = 0.0


def now() -> float:
    """Seconds since the epoch."""
    return time.time() + _offset


def utc_now() -> datetime:
    return datetime.fromtimestamp(now(), UTC)


def offset() -> float:
    """Seconds by which the store's clock is ahead of this process's."""
    return _offset


def set_offset(seconds: float) -> None:
    global _offset
    _offset = seconds
