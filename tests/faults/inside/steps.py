"""The steps at which a process may be killed or stopped, and the hints that may be lost or sent twice."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.faults.inside.hooks import after_import, around, instead, role


def add() -> None:
    if role() == "web":
        after_import("polls.votelog.redis.log")(_casting)
    if role() == "worker":
        after_import("analytics.counting.ballot_rows")(_copying)
        after_import("analytics.counting.block_counting")(_counting)
        after_import("analytics.counting.batches")(_committing)
        after_import("polls.votelog.redis.log")(_trimming)
    after_import("analytics.counting.triggers")(_wake_ups)


def _casting(module: ModuleType) -> None:
    around(module.RedisVoteLog, "append", before="web.before_append", after="web.after_append")


def _copying(module: ModuleType) -> None:
    around(module, "_binary", before="worker.in_copy")  # called after COPY has begun


def _counting(module: ModuleType) -> None:
    around(module, "count_blocks", before="worker.before_batch")
    around(module.ledger, "write", after="worker.after_ledger")
    around(module.tally_deltas, "add", after="worker.after_tally")


def _committing(module: ModuleType) -> None:
    around(module, "_move_checkpoint", after="worker.before_commit")
    around(module, "_count_batch", after="worker.after_commit")
    around(module.tally_changed, "send_robust", before="worker.before_announce")
    instead(module.tally_changed, "send_robust", "lost.announcement", _nothing)
    instead(module.tally_changed, "send_robust", "doubled.announcement", _twice)


def _trimming(module: ModuleType) -> None:
    around(module.RedisVoteLog, "trim", before="worker.before_trim", after="worker.after_trim")


def _wake_ups(module: ModuleType) -> None:
    instead(module, "_send", "lost.wake_up", _nothing)

    def send_without_looking(_send: Any, partition: int) -> None:
        for _ in range(2):
            module.current_app.send_task("analytics.tasks.count", (partition,), retry=False)

    instead(module, "_send", "doubled.wake_up", send_without_looking)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _twice(work: Any, *args: Any, **options: Any) -> Any:
    work(*args, **options)
    return work(*args, **options)
