"""More builds that are broken on purpose: they believe what a store, a clock or a log can't vouch for."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.faults.inside.hooks import after_import, instead, role


def add() -> None:
    if role() == "web":
        after_import("polls.votelog.redis")(_casting)


def _casting(module: ModuleType) -> None:
    instead(module.RedisVoteLog, "append", "takes_silence_for_yes", _take_for_accepted)


def _take_for_accepted(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    """A lost answer will have been a good one."""
    from redis.exceptions import RedisError

    from tests.faults.inside.broken import _all_accepted

    try:
        return append(log, ballots, expected)
    except RedisError:
        return _all_accepted(ballots)
