"""The vote log that the settings name, and what the database knows of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from polls import clock
from polls.db_connections import closing_connections
from polls.errors import LogInconsistent, LogUnsuitable
from polls.votelog import rate_limits
from polls.votelog.contract import VoteLog
from polls.votelog.entries import Head

__all__ = [
    "STORE_ERRORS",
    "cached_heads",
    "expected_heads",
    "get_log",
    "set_checkpoint_source",
    "store_clock",
    "sync_clock",
    "sync_salt",
]

logger = logging.getLogger(__name__)

#: What a database or a log's store raises while it is away or too slow: worth another try.
STORE_ERRORS = (OperationalError, InterfaceError, RedisError)

_log: VoteLog | None = None
_lock = Lock()


def get_log() -> VoteLog:
    """The process's vote log, built on first use from settings.VOTE_LOG."""
    global _log
    with _lock:
        if _log is None:
            _log = import_string(settings.VOTE_LOG_BACKENDS[settings.VOTE_LOG])(counted=_heads_from_database)
        return _log


def forget_log() -> None:
    """Build the log anew on next use, as after a change of settings."""
    global _log
    with _lock:
        _log = None
    _expected.clear()
    clock.set_offset(0.0)


def sync_salt() -> None:
    """What addresses are hashed with, where there is none yet or its time is up.

    Casts count for no address before: a process asks as it starts, and then with its appends.
    """
    if rate_limits.salt_expired():
        rate_limits.set_salt(*get_log().salt())


def sync_clock() -> None:
    """How far the store's clock is from ours, to half the time that the answer took."""
    before = time.time()
    store = get_log().clock() / 1000
    clock.set_offset(store - (before + time.time()) / 2)


def store_clock() -> int:
    """Milliseconds since the epoch by the store's clock; while the store is away, by what we know of it."""
    try:
        return get_log().clock()
    except STORE_ERRORS:
        logger.warning("log_away", exc_info=True)
        return int(clock.now() * 1000)


# The floor above keeps the counted positions and says here how to ask for them.
_checkpoint_source: Callable[..., dict[int, Head]] | None = None  # takes `make`
_expected: dict[int, Head] = {}
_refreshed_at = 0.0
_refreshing = Lock()


def set_checkpoint_source(source: Callable[..., dict[int, Head]]) -> None:
    global _checkpoint_source
    _checkpoint_source = source


def expected_heads(max_age: float = 1.0) -> dict[int, Head]:
    """Per partition, the generation and a position known to be counted, as the database has them now.

    Waits for the database where there is no answer of the last `max_age` s; while it is away
    an older one serves: positions only grow, so an old one is still a true lower bound.
    """
    if not _expected or time.monotonic() - _refreshed_at >= max_age:
        _refresh_heads()
    return _expected


def _heads_from_database() -> dict[int, Head]:
    """As the database has them at this moment, or its error: by an old answer an old log may seem right."""
    _refresh_heads(now=True)
    return _expected


def cached_heads(*, make: bool = True) -> dict[int, Head]:
    """The same for who can't wait: what is known, while a look that is due runs in a thread of its own.

    Without `make`, for who only looks: a log that isn't there yet isn't made.
    """
    if not _expected:
        _refresh_heads(make=make)
        return _expected
    if time.monotonic() - _refreshed_at >= 1.0 and not _refreshing.locked():
        Thread(target=closing_connections, args=(_refresh_in_background,), name="heads", daemon=True).start()
    return _expected


def _refresh_in_background() -> None:
    global _expected
    if _refreshing.acquire(blocking=False):
        try:
            _refresh_heads(make=False)
        except LogInconsistent as error:
            logger.warning("log_inconsistent", exc_info=error)
            _expected = {}  # the next append asks for itself, and is refused
        finally:
            _refreshing.release()


def _refresh_heads(*, make: bool = True, now: bool = False) -> None:
    global _expected, _refreshed_at
    if _checkpoint_source is None:
        raise LogInconsistent("Nothing knows the vote log's checkpoints.")
    try:
        _expected = _checkpoint_source(make=make)
        with suppress(*STORE_ERRORS):
            sync_clock()
    except LogInconsistent:
        raise
    except LogUnsuitable:
        # What to set is the operator's business; voters hear what they would of any wrong log.
        raise LogInconsistent() from None
    except Exception:
        if now or not _expected:
            raise
    finally:
        _refreshed_at = time.monotonic()
