"""Requires proofs of work for a poll whose rate limits are exceeded so often that it looks like an attack.

A single address over its limit is simply refused. Many such addresses at once may belong to one attacker. A
proof of work makes each ballot cost its sender computing time.
"""

import logging
from typing import Any

from django.core.cache import cache

from polls import clock
from polls.voters import proof_policy

logger = logging.getLogger(__name__)

#: The number of exceeded rate limits of a poll within a minute, by any addresses or networks, that looks like
#: an attack. Each web process reports separately, so an address may count once per process.
THRESHOLD = 10
WITHIN_SECONDS = 60


def on_over_limit(sender: Any, poll_id: int, kind: str, count: int, **_: Any) -> None:
    """Receive the signal that a rate limit was exceeded. Never raise: the sender accepts ballots."""
    try:
        overruns = _count_recent(poll_id, count)
        if overruns >= THRESHOLD and proof_policy.suspect_attack(poll_id, kind=kind, times=overruns):
            logger.warning("proof_switched_on", extra={"poll": poll_id, "kind": kind, "times": overruns})
    except Exception:
        logger.warning("anomaly_check_failed", extra={"poll": poll_id}, exc_info=True)


def _count_recent(poll_id: int, count: int) -> int:
    """Add `count`. Return an estimate of the sum over the last 60 seconds."""
    minute, elapsed = divmod(clock.now(), WITHIN_SECONDS)
    this, last = (f"over-limit:{poll_id}:{int(minute) - back}" for back in (0, 1))
    cache.add(this, 0, 2 * WITHIN_SECONDS)
    weight = 1 - elapsed / WITHIN_SECONDS  # the part of the previous minute that is in the last 60 seconds
    return int(cache.incr(this, count)) + int(cache.get(last, 0) * weight)
