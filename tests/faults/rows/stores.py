"""Stores and beat are killed and started again, or freeze, while voters come."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.connection_pool import HUNG_SECONDS
from tests.faults.experiment import Fault, Scene
from tests.faults.harness import IDLE_SECONDS

AWAY = "503 with Retry-After during the fault, then catches up; nothing lost"


def redis_restarts(scene: Scene) -> None:
    scene.harness.redis.kill()
    try:
        scene.wait_put_off("while the log is away")
    finally:
        scene.harness.redis.start()
    scene.struck()
    scene.expect(
        scene.wait_for_acknowledgements(seconds=scene.patience),
        "accepting",
        "nothing is accepted after the restart",
    )
    scene.wait_current("after the restart")


def redis_freezes(scene: Scene) -> None:
    """Longer than anybody waits for it: all connections stay open, and nothing answers."""
    scene.harness.redis.freeze()
    try:
        scene.wait_put_off("while the log is away")
    finally:
        scene.harness.redis.thaw()
    scene.struck()
    scene.expect(
        scene.wait_for_acknowledgements(seconds=scene.patience), "accepting", "nothing is accepted after it"
    )
    scene.wait_current("after it")


def postgresql_restarts(scene: Scene) -> None:
    server = scene.harness.postgresql
    server.kill()
    try:
        goes_on = scene.wait_for_acknowledgements(30, seconds=scene.patience)
    finally:
        server.start()
    scene.struck()
    scene.expect(goes_on, "accepting", "nothing is accepted while the database is away")
    scene.wait_current("after the restart")


def postgresql_hangs(scene: Scene) -> None:
    """For longer than any request may take: all connections stay open, and nothing answers."""
    server, until = scene.harness.postgresql, time.monotonic() + HUNG_SECONDS + 3
    server.freeze()
    try:
        goes_on = True
        while goes_on and time.monotonic() < until:
            goes_on = scene.wait_for_acknowledgements(30, seconds=scene.patience)
            time.sleep(1)
    finally:
        server.thaw()
    scene.struck()
    scene.expect(goes_on, "accepting", "nothing is accepted while the database hangs")
    scene.wait_current("after it went on")


def beat_dies(scene: Scene) -> None:
    """While wake-ups are lost as well, so that the sweep alone makes workers count."""
    with scene.failpoints.switched_on("lost.wake_up"):
        for pid in scene.harness.pids("beat"):
            scene.harness.kill(pid)
        scene.struck()
        scene.harness.wait_whole()
        scene.all_counted()
        scene.last_few("with a new beat")


def worker_stops(step: str) -> Callable[[Scene], None]:
    """Past its time-outs, in the middle of its transaction; then it goes on as if nothing had been."""

    def strike(scene: Scene) -> None:
        pid = scene.harness.stop_at(step)
        try:
            scene.wait_current(f"with a worker stopped, whose locks end after {IDLE_SECONDS} s")
        finally:
            scene.harness.thaw(pid)
        scene.struck()
        scene.wait_for_acknowledgements(50)
        scene.wait_current("after it went on")

    return strike


ROWS = [
    Fault(
        *("SIGKILL and restart (AOF always)", "Redis", AWAY, redis_restarts),
        broken=("acks_before_append",),
        found_by="lost",
        times=3,
    ),
    Fault(
        *("frozen, then on", "Redis", AWAY, redis_freezes),
        broken=("never_says_when",),
        found_by="answers",
        times=2,
        long=True,
    ),
    Fault(
        *(
            "crash and restart",
            "PostgreSQL",
            "accepting continues; counting catches up",
            postgresql_restarts,
        ),
        broken=("asks_the_database",),
        found_by="accepting",
        times=3,
    ),
    Fault(
        *("frozen, then on", "PostgreSQL", "accepting continues; no request hangs", postgresql_hangs),
        broken=("asks_the_database",),
        found_by="accepting",
        times=2,
        long=True,
    ),
    Fault(
        *("SIGKILL and restart", "beat", "sweeps continue", beat_dies),
        broken=("no_sweep",),
        found_by="current",
        times=3,
    ),
    Fault(
        *("SIGSTOP past its time-outs, then SIGCONT", "worker", "its transaction changes nothing"),
        worker_stops("worker.after_tally"),
        broken=("no_transaction", "ledger_unchecked"),
        found_by="tally",
        times=3,
    ),
    Fault(
        *("SIGSTOP while it sends rows, then SIGCONT", "worker", "its locks expire; it changes nothing"),
        worker_stops("worker.in_copy"),
        broken=("stuck_copies_stay",),
        found_by="current",
        times=3,
    ),
]
