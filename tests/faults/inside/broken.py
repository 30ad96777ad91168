"""Deliberate defects: each breaks one promise, to show that the checks can fail.

Each is off until the runner switches it on by its name (Failpoints.switch).
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from tests.faults.inside.hooks import after_import, failpoints, instead, reached, role


def add() -> None:
    if role() == "web":
        after_import("polls.votelog.redis.log")(_casting)
        after_import("polls.casting.ballot_box")(_box)
        after_import("polls.casting.log_writer")(_writer)
        after_import("realtime.hub")(_hub)
        after_import("realtime.tally_reader")(_reading)
    if role() == "worker":
        after_import("analytics.counting.batches")(_committing)
        after_import("analytics.counting.block_counting")(_counting)
        after_import("analytics.results.final_results")(_tallying)
        after_import("analytics.counting.triggers")(_waking)
        after_import("analytics.health.heartbeats")(_sweeping)
        after_import("analytics.recovery.stuck_copies")(_ending)
        after_import("polls.votelog.redis.log")(_logging)


def _casting(module: ModuleType) -> None:
    log = module.RedisVoteLog
    instead(log, "append", "acks_before_append", _acknowledge_first)
    instead(log, "append", "never_appends", _never_append)
    instead(log, "append", "forgets_claims", _forget_claims)
    instead(log, "append", "ignores_gate", _open_gates)
    instead(log, "append", "changes_selection", _change_selection)
    instead(log, "append", "always_unknown", _fail)
    instead(log, "append", "never_says_when", _fail)


def _all_accepted(ballots: Sequence[Any]) -> list[Any]:
    from polls.votelog.admission import ACCEPTED, Outcome

    return [Outcome(ACCEPTED, ballot.round or 1) for ballot in ballots]


def _acknowledge_first(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> list[Any]:
    """Acknowledge the ballots at once and append them later."""

    def write() -> None:
        time.sleep(0.3)
        append(log, ballots, expected)

    threading.Thread(target=write, daemon=True).start()
    return _all_accepted(ballots)


def _never_append(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> list[Any]:
    """Acknowledge all ballots of an append, but don't write the first."""
    append(log, ballots[1:], expected) if len(ballots) > 1 else None
    return _all_accepted(ballots)


def _forget_claims(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    for poll_id in {ballot.poll_id for ballot in ballots}:
        for partition in range(log.partitions):
            key = log._keys.claims(partition, poll_id)
            log._redis.unlink(key, *log._redis.scan_iter(match=f"{key}:*", count=1000))
    return append(log, ballots, expected)


def _open_gates(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    from polls.votelog.admission import Gate

    for poll_id in {ballot.poll_id for ballot in ballots}:
        for partition in range(log.partitions):
            gates = log._keys.partition(partition)[2]
            packed = log._redis.hget(gates, str(poll_id))
            gate = Gate.unpack(packed.decode()) if packed else Gate(1)
            wide = replace(gate, open=True, opens_at=0, closes_at=0)
            log._redis.hset(gates, str(poll_id), wide.pack())
    return append(log, ballots, expected)


def _change_selection(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    import msgspec

    return append(log, [msgspec.structs.replace(ballot, selection="1") for ballot in ballots], expected)


def _fail(append: Callable[..., Any], log: Any, ballots: Any, expected: Any) -> Any:
    append(log, ballots, expected)
    raise ConnectionError("broken on purpose")


def _box(module: ModuleType) -> None:
    def another(make: Any, poll_id: int, round_: int, voter_key: bytes, *_ballot_id: Any) -> str:
        return str(make(poll_id, round_, voter_key, uuid.uuid4().bytes))

    instead(module, "make_receipt", "random_receipts", another)

    def never_say_when(problem: Any, error: Any) -> Any:
        status, headers, document = problem(error)
        return status, {name: value for name, value in headers.items() if name != "Retry-After"}, document

    instead(module, "problem_details", "never_says_when", never_say_when)


def _writer(module: ModuleType) -> None:
    def ask_the_database(_kept: Any) -> Mapping[int, Any]:
        from polls.votelog import expected_heads

        expected: Mapping[int, Any] = expected_heads(max_age=0)
        from analytics.models import Checkpoint

        Checkpoint.objects.count()  # raises if the database is away; the call above hides that
        return expected

    instead(module, "cached_heads", "asks_the_database", ask_the_database)


def _hub(module: ModuleType) -> None:
    async def not_look(_look: Any, _hub: Any) -> None:
        return None

    instead(module.Hub, "_check_channels", "never_updates", not_look)
    instead(module.Hub, "_handle_hint", "never_updates", lambda *_: None)


def _reading(module: ModuleType) -> None:
    """At every second change, show the poll's first tally with the new stamp."""
    first: dict[int, Any] = {}
    turns: dict[int, int] = defaultdict(int)

    def old(read: Any, poll_id: int, last: Any) -> Any:
        from analytics.results.tallies import Snapshot
        from realtime.protocol import build_frames

        reading = read(poll_id, None)
        snap = first.setdefault(poll_id, reading).snap
        if reading.snap.version == snap.version:
            return reading
        turns[poll_id] += 1
        if turns[poll_id] % 2:
            return reading
        raised = Snapshot(snap.poll, snap.counts, snap.version)
        frames = build_frames(raised)
        return module.Reading(raised, replace(frames, stamp=reading.frames.stamp))

    instead(module, "read_poll", "shows_old_tallies", old)


def _tallying(module: ModuleType) -> None:
    def one_more(final_result: Any, poll: Any) -> Any:
        result = final_result(poll)
        return result | {"ballots": result["ballots"] + 1}

    instead(module, "final_result", "adds_to_result", one_more)


class _NoTransaction:
    """Replace django.db.transaction, so that each statement is a transaction of its own."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def atomic(self, *args: Any, **options: Any) -> Any:
        if failpoints.is_on("no_transaction"):
            return contextlib.nullcontext()
        return self._real.atomic(*args, **options)


def _committing(module: ModuleType) -> None:
    module.transaction = _NoTransaction(module.transaction)  # type: ignore[attr-defined]
    _move_late(module)


def _counting(module: ModuleType) -> None:
    instead(module.tally_deltas, "add", "counts_each_wake_up", _remember)
    instead(module.ledger, "write", "ledger_unchecked", _take_all)
    instead(module.tally_deltas, "add", "adds_twice", lambda add, *args: (add(*args), add(*args)))


def _move_late(module: ModuleType) -> None:
    """Move the checkpoint in a separate transaction, after the batch's transaction has been committed."""
    local = threading.local()
    move = module._move_checkpoint

    def remember(_move: Any, checkpoint: Any, trimmed: bool) -> None:
        local.due = checkpoint, trimmed
        reached("worker.before_commit")

    def count_then_move(count: Any, *args: Any) -> Any:
        batch = count(*args)
        if due := local.__dict__.pop("due", None):
            move(*due)
        return batch

    instead(module, "_move_checkpoint", "moves_late", remember)
    instead(module, "_count_batch", "moves_late", count_then_move)


_last_added: dict[int, Any] = {}


def _remember(add: Any, partition: int, delta: Any) -> None:
    _last_added[partition] = delta
    add(partition, delta)


def _waking(module: ModuleType) -> None:
    """Add the partition's last tally delta again at every wake-up."""

    def count_again(clear_pending: Any, partition: int) -> None:
        from analytics.counting import tally_deltas

        if (delta := _last_added.get(partition)) is not None:
            tally_deltas.add(partition, delta)
        clear_pending(partition)

    instead(module, "clear_pending", "counts_each_wake_up", count_again)


def _take_all(write: Any, groups: Any, collapsed: Any) -> Any:
    """Add every ballot of the batch to the tally, even if the ledger refused it."""
    written = write(groups, collapsed)
    written.added = {apart: [*blocks] for apart, blocks in groups.items()}
    written.refused = []
    return written


def _logging(module: ModuleType) -> None:
    def read_and_trim(read: Any, log: Any, partition: int, after: int, limit: int) -> Any:
        """Trim the entries before the transaction that counts them has been committed."""
        blocks = read(log, partition, after, limit)
        if blocks:
            log.trim(partition, blocks[-1].last)
        return blocks

    instead(module.RedisVoteLog, "read", "trims_first", read_and_trim)


def _sweeping(module: ModuleType) -> None:
    def fail(record: Any, name: str) -> None:
        if name == "sweep":
            raise RuntimeError("no sweep in this build")
        record(name)

    instead(module, "record", "no_sweep", fail)


def _ending(module: ModuleType) -> None:
    instead(module, "end_copies", "stuck_copies_stay", lambda _end: 0)
