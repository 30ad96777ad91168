"""Redis, PostgreSQL, beat or a worker is killed and restarted, or frozen, while voters vote."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.connection_pool import HUNG_SECONDS
from tests.faults.experiment import Fault, Scene
from tests.faults.harness import IDLE_SECONDS

AWAY = "503 with Retry-After during the fault; afterwards it catches up, and no ballot is lost"


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
    """Freeze Redis until ballots are refused. All connections stay open, but nothing is answered."""
    scene.harness.redis.freeze()
    try:
        scene.wait_put_off("while the log is away")
    finally:
        scene.harness.redis.thaw()
    scene.struck()
    scene.expect(
        scene.wait_for_acknowledgements(seconds=scene.patience),
        "accepting",
        "nothing is accepted after the freeze",
    )
    scene.wait_current("after the freeze")


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
    """Freeze PostgreSQL for longer than any request may take. All its connections stay open."""
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
    scene.wait_current("after the database went on")


def beat_dies(scene: Scene) -> None:
    """Kill beat. Wake-ups are lost too, so that only the new beat's sweep makes workers count."""
    with scene.failpoints.switched_on("lost.wake_up"):
        for pid in scene.harness.pids("beat"):
            scene.harness.kill(pid)
        scene.struck()
        scene.harness.wait_whole()
        scene.all_counted()
        scene.last_few("with a new beat")


def worker_stops(step: str) -> Callable[[Scene], None]:
    """Stop a worker in its transaction until PostgreSQL has ended the transaction, then let it go on."""

    def strike(scene: Scene) -> None:
        pid = scene.harness.stop_at(step)
        try:
            scene.wait_current(f"with a stopped worker, whose locks end after {IDLE_SECONDS} s")
        finally:
            scene.harness.thaw(pid)
        scene.struck()
        scene.wait_for_acknowledgements(50)
        scene.wait_current("after the worker went on")

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
        *("SIGSTOP while it sends rows, then SIGCONT", "worker", "its locks expire, and it changes nothing"),
        worker_stops("worker.in_copy"),
        broken=("stuck_copies_stay",),
        found_by="current",
        times=3,
    ),
]
