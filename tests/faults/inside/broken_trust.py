"""More deliberate defects: unchecked trust in a store, a clock or a log, and wrong refusals."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from tests.faults.inside.hooks import after_import, instead, role


def add() -> None:
    if role() == "web":
        after_import("polls.votelog.redis.log")(_casting)
        after_import("polls.votelog")(_comparing)
        after_import("polls.casting.log_writer")(_box)
        after_import("analytics.health.bounded_probes")(_asking)
    if role() == "worker":
        after_import("analytics.counting.batches")(_counting)
        after_import("analytics.counting.block_counting")(_setting_aside)
        after_import("analytics.counting.circuit_breaker")(_halting)
        after_import("polls.lifecycle")(_lifecycle)


def _casting(module: ModuleType) -> None:
    log = module.RedisVoteLog
    instead(log, "append", "acknowledges_lost_answers", _take_for_accepted)
    instead(log, "append", "ignores_the_clock", _forget_times)
    instead(log, "append", "recreates_the_log", _make_anew)
    instead(log, "append", "forgets_what_it_wrote", _forget_heads)
    instead(log, "append", "refuses_the_whole_append", _refuse_all)


def _take_for_accepted(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    """Acknowledge the ballots although Redis's answer was lost."""
    from redis.exceptions import RedisError

    from tests.faults.inside.broken import _all_accepted

    try:
        return append(log, ballots, expected)
    except RedisError:
        return _all_accepted(ballots)


def _forget_times(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    """Forget when the last entry was written, so that a clock that runs backwards isn't noticed."""
    for partition in range(log.partitions):
        log._redis.hdel(log._keys.partition(partition)[1], "at")
    return append(log, ballots, expected)


def _make_anew(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    """Create a missing log with open gates, instead of refusing ballots."""
    from polls.votelog.admission import Gate

    for partition, head in expected.items():
        if log.head(partition) is not None:
            continue
        log.make(partition, head)
        for poll_id in {ballot.poll_id for ballot in ballots}:
            log._redis.hsetnx(log._keys.partition(partition)[2], str(poll_id), Gate(1, open=True).pack())
    return append(log, ballots, expected)


def _forget_heads(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    log._heads.written.clear()
    return append(log, ballots, expected)


def _refuse_all(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    """If one partition refuses ballots, refuse all ballots of the append."""
    outcomes = append(log, ballots, expected)
    refused = [o for o in outcomes if o.code in ("overloaded", "log_inconsistent", "unavailable")]
    return refused[:1] * len(outcomes) if refused else outcomes


def _comparing(module: ModuleType) -> None:
    """Don't compare the heads of a restarted Redis with the database."""
    instead(module, "_heads_from_database", "trusts_any_log", lambda _: {})


def _box(module: ModuleType) -> None:
    def whatever_is_there(_kept: Any) -> Any:
        from polls.votelog import get_log

        get_log()._heads.written.clear()  # type: ignore[attr-defined]
        return get_log().heads()

    instead(module, "cached_heads", "trusts_any_log", whatever_is_there)

    def fail_now_and_then(append: Any, ballots: Any) -> Any:
        """Refuse every fifth append as if the process were overloaded."""
        if random.random() < 0.2:
            from polls.errors import Overloaded

            raise Overloaded()
        return append(ballots)

    instead(module, "_append", "refuses_some_appends", fail_now_and_then)


def _counting(module: ModuleType) -> None:
    def move_past(count: Callable[..., Any], partition: int, *args: Any) -> Any:
        """After a database error, move the checkpoint past the entries that weren't counted."""
        from django.db import DatabaseError

        from analytics.models import Checkpoint
        from polls.votelog import get_log

        try:
            return count(partition, *args)
        except DatabaseError:
            if head := get_log().head(partition):
                Checkpoint.objects.filter(partition=partition).update(position=head.position)
            raise

    instead(module, "_count_batch", "skips_what_fails", move_past)


def _setting_aside(module: ModuleType) -> None:
    def stop(set_aside: Callable[..., Any], partition: int, failures: Any) -> None:
        if failures:
            raise ValueError("This can't be counted.")
        set_aside(partition, failures)

    instead(module, "_add_dead_letters", "stops_at_invalid_entries", stop)


def _asking(module: ModuleType) -> None:
    def wait(answers: Callable[..., Any], asker: Any) -> Any:
        """Wait 30 seconds for a store that hangs, beyond every time limit."""
        time.sleep(30)
        return answers(asker)

    instead(module.ProbeRunner, "run", "exceeds_time_limits", wait)


def _halting(module: ModuleType) -> None:
    def never(_check: Any, partition: int, blocks: Any, failures: Any) -> Any:
        return module.count_failures(partition, blocks, failures)

    instead(module, "check", "never_halts", never)


def _lifecycle(module: ModuleType) -> None:
    instead(module, "_store_now", "uses_its_own_clock", lambda _now: datetime.now(UTC))
