"""Writing ballots to the vote log: this process's append queue, and what follows an append."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock, Thread

from django.conf import settings
from django.db import connection

from polls.casting.append_queue import AppendQueue, Entry
from polls.db_connections import closing_connections
from polls.errors import LandslideError
from polls.signals import ballots_appended, over_limit
from polls.votelog import cached_heads, get_log, rate_limits, sync_salt
from polls.votelog.admission import NewBallot, Outcome
from polls.votelog.entries import partition_of

logger = logging.getLogger(__name__)


def append_and_wait(ballots: Sequence[NewBallot]) -> list[Outcome]:
    """Append at most MAX_APPEND_BALLOTS ballots and return their outcomes, at the latest at the deadline."""
    # Don't keep a database connection while waiting: the appending thread needs one from the same pool.
    connection.close_if_unusable_or_obsolete()
    outcomes: Future[list[Outcome]] = Future()
    try:
        process_queue().add(Entry(ballots, outcomes.set_result))
    except LandslideError as error:
        return [Outcome(error.code)] * len(ballots)
    return _wait_for(outcomes)


def _wait_for(outcomes: Future[list[Outcome]]) -> list[Outcome]:
    while True:
        try:
            return outcomes.result(timeout=settings.CAST_DEADLINE_SECONDS)
        except TimeoutError:
            process_queue().expire()


_queue: AppendQueue | None = None
_queue_lock = Lock()


def process_queue() -> AppendQueue:
    """Return this process's append queue."""
    global _queue
    queue = _queue
    if queue is None:
        with _queue_lock:
            queue = _queue = _queue or AppendQueue(_append, _announce, settings.CAST_QUEUE_LIMIT)
    return queue


def _forget_queue() -> None:
    """Forget the queue in a forked process, which makes its own: threads don't survive a fork."""
    global _queue, _queue_lock
    _queue, _queue_lock = None, Lock()


os.register_at_fork(after_in_child=_forget_queue)


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
