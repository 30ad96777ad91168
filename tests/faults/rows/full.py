"""A store's disk or memory is full."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tests.faults.experiment import Fault, Scene
from tests.faults.fault_injection import FaultInjectionHarness, injection
from tests.servers import wait_for

TURNED_AWAY = 10  # after this many temporary refusals the store counts as full


def redis_disk(scene: Scene) -> None:
    """Fill Redis's disk. With appendfsync=always Redis exits when it can't write, so start it again."""
    redis = scene.harness.redis
    disk = injection(scene.harness).disks[redis]
    before = scene.journal.put_off
    disk.fill()
    try:
        wait_for(lambda: not redis.running, 40, "Redis to exit")
        _turned_away(scene, lambda: scene.journal.put_off - before)
    finally:
        disk.clear()
        redis.start()
    _goes_on(scene, disk.kind)


def redis_memory(scene: Scene) -> None:
    before = scene.journal.answers["unavailable"]
    with scene.harness.redis.client() as redis:
        redis.config_set("maxmemory", "1mb")
        try:
            _turned_away(scene, lambda: scene.journal.answers["unavailable"] - before)
        finally:
            redis.config_set("maxmemory", "0")
    _goes_on(scene, "over maxmemory")


def postgresql_disk(scene: Scene) -> None:
    """Fill PostgreSQL's disk. Ballots are still accepted and wait in the log."""
    server = scene.harness.postgresql
    disk = injection(scene.harness).disks[server]
    before = _complaints(scene)
    disk.fill()
    try:
        # Counting goes on for a while: PostgreSQL's unfinished pages still have room.
        wait_for(lambda: _complaints(scene) > before, 60, "counting to run out of room")
        goes_on = scene.wait_for_acknowledgements(60, seconds=scene.patience)
        answer = scene.harness.http.post(
            "/api/v1/polls/", json={"question": "Room?", "choices": ["Yes", "No"]}
        )
        scene.expect(
            answer.status_code in (201, 503), "refused", f"a new poll on a full disk: {answer.status_code}"
        )
    finally:
        disk.clear()
        server.start()
    scene.expect(goes_on, "accepting", "nothing is accepted while the database's disk is full")
    _goes_on(scene, disk.kind)


def _complaints(scene: Scene) -> int:
    """Return how often the processes logged that PostgreSQL can't write."""
    printed = scene.harness.system.output()
    return sum(printed.count(text) for text in ("No space left on device", "File too large"))


def _turned_away(scene: Scene, so_far: Callable[[], int]) -> None:
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: so_far() >= TURNED_AWAY, scene.patience)
    scene.expect(so_far() >= TURNED_AWAY, "refused", f"only {so_far()} tries refused by a full store")


def _goes_on(scene: Scene, how: str) -> None:
    scene.struck()
    scene.remark(how)
    again = scene.wait_for_acknowledgements()
    scene.expect(again, "accepting", "nothing is accepted although there is room again")
    scene.wait_current("when there was room again")


INJECTION = {"kind": FaultInjectionHarness}
ROWS = [
    Fault(
        *(
            "disk full",
            "Redis",
            "ballots get 503, and none is acknowledged; it continues once it is restarted with free space",
            redis_disk,
        ),
        broken=("acks_before_append",),
        found_by="lost",
        times=3,
        harness=INJECTION,
    ),
    Fault(
        *(
            "memory full (maxmemory, noeviction)",
            "Redis",
            "ballots get 503, and none is acknowledged; it recovers by itself",
            redis_memory,
        ),
        broken=("acks_before_append",),
        found_by="lost",
        times=3,
        harness=INJECTION,
    ),
    Fault(
        *("disk full", "PostgreSQL", "accepting continues; counting waits and recovers by itself"),
        postgresql_disk,
        broken=("skips_what_fails",),
        found_by="lost",
        times=3,
        harness=INJECTION,
        damages=True,
    ),
]
