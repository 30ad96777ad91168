"""The vote log: accepted ballots that aren't counted yet. This module builds the backend set in VOTE_LOG.

Start with `contract.py`, the interface of a backend; `admission.py` has the rules that all backends share.
The backends are `database.py` and `redis/`. It may import `polls.models`, `polls.http` and what lies below
them.
"""

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

#: Errors raised when the database or the log's store is down or too slow. A retry may succeed.
STORE_ERRORS = (OperationalError, InterfaceError, RedisError)

_log: VoteLog | None = None
_lock = Lock()


def get_log() -> VoteLog:
    """Return the process's vote log, built from settings.VOTE_LOG on first use."""
    global _log
    with _lock:
        if _log is None:
            _log = import_string(settings.VOTE_LOG_BACKENDS[settings.VOTE_LOG])(counted=_heads_from_database)
        return _log


def forget_log() -> None:
    """Discard the vote log and everything cached from it. The next use builds it from the settings."""
    global _log
    with _lock:
        _log = None
    _expected.clear()
    clock.set_offset(0.0)


def sync_salt() -> None:
    """Get a salt for hashes of addresses from the log if there is none or it has expired.

    Called when a process starts and after each append. Without a salt, casts aren't counted by address.
    """
    if rate_limits.salt_expired():
        rate_limits.set_salt(*get_log().salt())


def sync_clock() -> None:
    """Measure the offset of the store's clock. The error is at most half of the round-trip time."""
    before = time.time()
    store = get_log().clock() / 1000
    clock.set_offset(store - (before + time.time()) / 2)


def store_clock() -> int:
    """Return the store's time in ms since the epoch. While the store is down, estimate it from our clock."""
    try:
        return get_log().clock()
    except STORE_ERRORS:
        logger.warning("log_away", exc_info=True)
        return int(clock.now() * 1000)


# The function that reads how far each partition is counted; analytics registers it.
_checkpoint_source: Callable[..., dict[int, Head]] | None = None  # called with `make`
_expected: dict[int, Head] = {}
_refreshed_at = 0.0
_refreshing = Lock()


def set_checkpoint_source(source: Callable[..., dict[int, Head]]) -> None:
    global _checkpoint_source
    _checkpoint_source = source


def expected_heads(max_age: float = 1.0) -> dict[int, Head]:
    """Return each partition's generation and a position known to be counted, at most `max_age` seconds old.

    Reads the database if needed. While the database is down, returns older positions. Positions only grow, so
    they are still valid lower bounds.
    """
    if not _expected or time.monotonic() - _refreshed_at >= max_age:
        _refresh_heads()
    return _expected


def _heads_from_database() -> dict[int, Head]:
    """Read the heads from the database. Raise if that fails: with old heads, an old log could look right."""
    _refresh_heads(fallback=False)
    return _expected


def cached_heads(*, make: bool = True) -> dict[int, Head]:
    """Return the cached heads without blocking; refresh them in a thread if they are older than a second.

    Only the first call blocks. make: whether the first call may create the log if it doesn't exist.
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
            _expected = {}  # so that the next append reads the database and is refused
        finally:
            _refreshing.release()


def _refresh_heads(*, make: bool = True, fallback: bool = True) -> None:
    """Read the heads. If reading fails and `fallback` is true, keep the previous heads."""
    global _expected, _refreshed_at
    if _checkpoint_source is None:
        raise LogInconsistent("No source of the vote log's checkpoints is registered.")
    try:
        _expected = _checkpoint_source(make=make)
        with suppress(*STORE_ERRORS):
            sync_clock()
    except LogInconsistent:
        raise
    except LogUnsuitable:
        # The hint is for operators. Voters get the same answer as if the log were inconsistent.
        raise LogInconsistent() from None
    except Exception:
        if not fallback or not _expected:
            raise
    finally:
        _refreshed_at = time.monotonic()
