"""The vote log that the settings name, and what the database knows of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from polls.errors import LogInconsistent, LogUnsuitable

from .base import Head, VoteLog

__all__ = ["STORE_ERRORS", "expected_heads", "get_log", "set_checkpoint_source"]

#: What a database or a log's store raises while it is away or too slow: worth another try.
STORE_ERRORS = (OperationalError, InterfaceError, RedisError)

_log: VoteLog | None = None
_lock = Lock()


def get_log() -> VoteLog:
    """The process's vote log, built on first use from settings.VOTE_LOG."""
    global _log
    with _lock:
        if _log is None:
            _log = import_string(settings.VOTE_LOG_BACKENDS[settings.VOTE_LOG])()
        return _log


def forget_log() -> None:
    """Build the log anew on next use, as after a change of settings."""
    global _log
    with _lock:
        _log = None
    _expected.clear()


# The floor above keeps the counted positions and says here how to ask for them.
_source: Callable[[], dict[int, Head]] | None = None
_expected: dict[int, Head] = {}
_asked_at = 0.0


def set_checkpoint_source(source: Callable[[], dict[int, Head]]) -> None:
    global _source
    _source = source


def expected_heads(max_age: float = 1.0) -> dict[int, Head]:
    """Per partition, the generation and a position known to be counted; at most `max_age` s old.

    While the database is away the last answer serves: positions only grow, so an old
    one is still a true lower bound.
    """
    global _expected, _asked_at
    now = time.monotonic()
    if _source is None:
        raise LogInconsistent("Nothing knows the vote log's checkpoints.")
    if not _expected or now - _asked_at >= max_age:
        try:
            _expected = _source()
        except LogInconsistent:
            raise
        except LogUnsuitable:
            # What to set is the operator's business; voters hear what they would of any wrong log.
            raise LogInconsistent() from None
        except Exception:
            if not _expected:
                raise
        _asked_at = now
    return _expected
