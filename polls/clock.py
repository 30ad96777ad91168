"""The vote log's clock: this host's clock, corrected by the last measured offset.

Passes, proofs of work and planned times are compared with it. So a web host with a wrong clock neither
refuses valid ones nor accepts expired ones.
"""

import time
from datetime import UTC, datetime

#: Seconds by which the store's clock is ahead of ours.
_offset = 0.0


def now() -> float:
    """Return the seconds since the epoch."""
    return time.time() + _offset


def utc_now() -> datetime:
    return datetime.fromtimestamp(now(), UTC)


def offset() -> float:
    """Return the seconds by which the store's clock is ahead of this host's."""
    return _offset


def set_offset(seconds: float) -> None:
    global _offset
    _offset = seconds
