"""The vote log's clock: this host's monotonic clock, plus the last measured difference.

Passes, proofs of work and scheduled times are checked by it, so that a web host's wrong clock does no harm.
Setting or correcting the host's clock changes nothing here.
"""

import time
from datetime import UTC, datetime

_ahead = time.time() - time.monotonic()


def now() -> float:
    """Return the seconds since the epoch."""
    return time.monotonic() + _ahead


def utc_now() -> datetime:
    return datetime.fromtimestamp(now(), UTC)


def offset() -> float:
    """Return the seconds by which the vote log's clock is ahead of this host's."""
    return now() - time.time()


def set_offset(seconds: float) -> None:
    global _ahead
    _ahead = time.time() + seconds - time.monotonic()
