"""What looks like an attack on a poll, and switches proofs of work on.

One address over its limit is turned away, and that is that. Several at a time are somebody who has
several; from then on each ballot costs them computing, whatever address it comes from.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.cache import cache

from polls import clock
from polls.voters import proof_policy

logger = logging.getLogger(__name__)

#: Overruns of a poll's limits within a minute, by any address or network, that suggest an attack.
#: Each web process notices by itself, so one address may count as often as there are processes.
THRESHOLD = 10
WITHIN_SECONDS = 60


def on_over_limit(sender: Any, poll_id: int, kind: str, count: int, **_: Any) -> None:
    """Never raises: whoever tells of it has ballots to accept."""
    try:
        overruns = _count_recent(poll_id, count)
        if overruns >= THRESHOLD and proof_policy.suspect_attack(poll_id, kind=kind, times=overruns):
            logger.warning("proof_switched_on", extra={"poll": poll_id, "kind": kind, "times": overruns})
    except Exception:
        logger.warning("anomaly_not_judged", extra={"poll": poll_id}, exc_info=True)


def _count_recent(poll_id: int, count: int) -> int:
    """How often within the last minute: in this one, and what of the last one is still within it."""
    minute, gone = divmod(clock.now(), WITHIN_SECONDS)
    this, last = (f"over-limit:{poll_id}:{int(minute) - back}" for back in (0, 1))
    cache.add(this, 0, 2 * WITHIN_SECONDS)
    left = 1 - gone / WITHIN_SECONDS
    return int(cache.incr(this, count)) + int(cache.get(last, 0) * left)
