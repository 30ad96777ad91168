"""The vote log's clock: this host's clock, corrected by the last measured offset.

Passes, proofs of work and scheduled times are checked by it, so that a web host's wrong clock does no harm.
"""

import time
from datetime import UTC, datetime

_offset = 0.0


def now() -> float:
    """Return the seconds since the epoch."""
    return time.time() + _offset


def utc_now() -> datetime:
    return datetime.fromtimestamp(now(), UTC)


def offset() -> float:
    """Return the seconds by which the vote log's clock is ahead of this host's."""
    return _offset


def set_offset(seconds: float) -> None:
    global _offset
    _offset = seconds
