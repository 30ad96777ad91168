"""Writing ballots to the vote log: this process's append queue, and what follows an append."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import Lock, Thread

from django.conf import settings
from django.db import connection

from polls import timings
from polls.casting.append_queue import AppendQueue
from polls.db_connections import closing_connections
from polls.errors import OutcomeUnknown, Overloaded
from polls.signals import ballots_appended, over_limit
from polls.votelog import cached_heads, get_log, rate_limits, sync_salt
from polls.votelog.admission import NewBallot, Outcome
from polls.votelog.entries import partition_of

logger = logging.getLogger(__name__)


def submit(ballots: Sequence[NewBallot]) -> Future[list[Outcome]]:
    """Queue ballots in this process's append queue; see AppendQueue.submit."""
    return _process_queue().submit(ballots)


def append_and_wait(ballots: Sequence[NewBallot]) -> list[Outcome]:
    """Append ballots and return their outcomes; raise Overloaded or OutcomeUnknown at the deadline."""
    # Don't keep a database connection while waiting: the appending thread needs one from the same pool.
    connection.close_if_unusable_or_obsolete()
    with timings.ACCEPT.time():
        return _wait_for(submit(ballots))


def _wait_for(future: Future[list[Outcome]]) -> list[Outcome]:
    try:
        return future.result(timeout=settings.CAST_DEADLINE_SECONDS)
    except FutureTimeout:
        # If cancelling succeeds, the ballots were still queued and nothing was written.
        raise (Overloaded() if future.cancel() else OutcomeUnknown()) from None


_queue: tuple[int, AppendQueue] | None = None
_queue_lock = Lock()


def _process_queue() -> AppendQueue:
    """Return this process's append queue. After a fork, make a new one: threads don't survive a fork."""
    global _queue
    queue = _queue
    if queue is None or queue[0] != os.getpid():
        with _queue_lock:
            if _queue is None or _queue[0] != os.getpid():
                _queue = (os.getpid(), AppendQueue(_append, _announce, settings.CAST_QUEUE_LIMIT))
            queue = _queue
    return queue[1]


def _append(ballots: Sequence[NewBallot]) -> list[Outcome]:
    log = get_log()
    try:
        outcomes = log.append(ballots, cached_heads())
        _update_rate_limits(ballots)
        return outcomes
    finally:
        # This thread never ends, so nothing else would close a broken or stale connection.
        connection.close_if_unusable_or_obsolete()


def _update_rate_limits(ballots: Sequence[NewBallot]) -> None:
    """Renew the salt and report exceeded limits. Errors are only logged, since the append is done."""
    try:
        sync_salt()
        blocked = rate_limits.newly_blocked((ballot.poll_id, ballot.rate_limit_keys) for ballot in ballots)
    except Exception:
        logger.warning("rate_limits_not_updated", exc_info=True)
        return
    if blocked:
        args = _send_over_limit, blocked
        Thread(target=closing_connections, args=args, name="over-limit", daemon=True).start()


def _send_over_limit(blocked: dict[tuple[int, str], int]) -> None:
    for (poll_id, kind), count in blocked.items():
        over_limit.send_robust(sender=None, poll_id=poll_id, kind=kind, count=count)


def _announce(ballots: Sequence[NewBallot]) -> None:
    partitions = get_log().partitions
    touched = {partition_of(ballot.poll_id, ballot.voter_key, partitions) for ballot in ballots}
    ballots_appended.send_robust(sender=None, partitions=touched)
