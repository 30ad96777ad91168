"""Some partitions of the vote log refuse or fail, while others accept ballots of the same append.

Voters here send their ballot only once, so its one answer must be true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.faults.experiment import Fault, Scene
from tests.faults.harness import head_of

PARTITIONS = 8
AT_ONCE = 100  # ballots cast together in a round; several of them share an append
ROUNDS = 60  # the most rounds
MORE = 4  # further rounds after the first in which some ballots were accepted and others refused
#: Bytes of free memory in the first round, and the smallest step to the next round's.
FIRST_ROOM, SMALLEST_STEP = 20_000, 500


def backlog(scene: Scene) -> None:
    """Stop the workers, so that one partition after the other reaches its backlog limit."""
    scene.all_counted()
    workers = scene.harness.pids("worker")
    for pid in workers:
        scene.harness.freeze(pid)
    try:
        _cast_in_rounds(scene, "overloaded")
    finally:
        for pid in workers:
            scene.harness.thaw(pid)
    _goes_on(scene)


def another_log(scene: Scene) -> None:
    """Change the generation of one partition, as if it belonged to another log."""
    scene.all_counted()
    with scene.harness.redis.client() as redis:
        generation = redis.hget(head_of(0), "generation")
        redis.hset(head_of(0), "generation", "another")
        try:
            _cast_in_rounds(scene, "log_inconsistent")
        finally:
            redis.hset(head_of(0), "generation", generation)  # type: ignore[arg-type]
    _goes_on(scene)


def memory(scene: Scene) -> None:
    """Leave Redis memory for the first calls of an append, but not for the last.

    Search for that amount: leave more after a round that was refused, less after one that was accepted, in
    smaller and smaller steps.
    """
    scene.all_counted()
    room, step = FIRST_ROOM, FIRST_ROOM
    with scene.harness.redis.client() as redis:

        def leave_room(last: Counter[str]) -> None:
            nonlocal room, step
            if last["unavailable"] and not last["acknowledged"]:
                room += step
            elif last["acknowledged"] and not last["unavailable"]:
                step = max(step // 2, SMALLEST_STEP)
                room = max(0, room - step)
            used = redis.info("memory")["used_memory"]  # type: ignore[index]
            redis.config_set("maxmemory", used + room)

        try:
            _cast_in_rounds(scene, "unavailable", leave_room)
        finally:
            redis.config_set("maxmemory", "0")
    _goes_on(scene)


def _cast_in_rounds(
    scene: Scene, refusal: str, before: Callable[[Counter[str]], None] = lambda _last: None
) -> None:
    """Cast ballots in rounds until one round has both accepted ballots and ballots refused with `refusal`.

    Then cast a few more rounds. Before each round, call `before` with the answers of the last one.
    """
    told, now, mixed = Counter[str](), Counter[str](), 0
    for _round in range(ROUNDS):
        before(now)
        heard = Counter(scene.journal.answers)
        scene.load.cast("once", AT_ONCE)
        now = scene.journal.answers - heard
        told += now
        mixed += bool(mixed or (now[refusal] and now["acknowledged"]))
        if mixed > MORE:
            break
    scene.struck()
    scene.expect(mixed > 0, "refused", f"no round had both accepted and {refusal}: {dict(told)}")
    scene.remark(f"{told['acknowledged']} acknowledged, {told[refusal]} {refusal}, {told['unknown']} unknown")


def _goes_on(scene: Scene) -> None:
    scene.wait_current("when all partitions worked again")


def _row(name: str, strike: Callable[[Scene], None]) -> Fault:
    expected = (
        "refused ballots aren't counted, and other ballots of the same append are; it recovers by itself"
    )
    return Fault(
        *(name, "a part of the vote log", expected, strike),
        broken=("refuses_the_whole_append",),
        found_by="altered",
        times=2,
        harness={"env": {"VOTE_LOG_PARTITIONS": str(PARTITIONS), "BACKLOG_LIMIT": "2400"}},
    )


ROWS = [
    _row("backlog full", backlog),
    _row("another log's", another_log),
    _row("memory full in mid-append", memory),
]
