"""Hints are lost or sent twice: wake-up tasks, announcements, messages of the channel layer."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.experiment import Fault, Scene
from tests.faults.harness import CHANNELS

CURRENT = "every screen is current within two seconds"
SWEEP = "no ballot waits longer than the sweep"


def switched(name: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        with scene.failpoints.switched_on(name):
            scene.wait_for_acknowledgements(30)
            scene.struck()
            scene.all_counted()
            scene.last_few(f"with {name}")

    return strike


def beat_gone(scene: Scene) -> None:
    pids = scene.harness.pids("beat")
    for pid in pids:
        scene.harness.freeze(pid)
    try:
        scene.wait_for_acknowledgements(30)
        scene.struck()
        scene.all_counted()
        scene.last_few("without beat")
    finally:
        for pid in pids:
            scene.harness.thaw(pid)


def channels_flushed(scene: Scene) -> None:
    """Empty the channel layer and end its subscriptions at once. Only five ballots follow."""
    scene.all_counted()
    with scene.harness.redis.client() as redis:
        redis.execute_command("SELECT", CHANNELS)
        redis.flushdb()
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    scene.struck()
    scene.last_few("after the flush")


ROWS = [
    Fault(
        *("announcements lost", "broker", CURRENT, switched("lost.announcement")),
        broken=("never_updates",),
        found_by="current",
        times=3,
    ),
    Fault(
        *("announcements doubled", "broker", CURRENT, switched("doubled.announcement")),
        broken=("shows_old_tallies",),
        found_by="backwards",
        times=3,
    ),
    Fault(
        *("wake-ups lost", "broker", SWEEP, switched("lost.wake_up")),
        broken=("no_sweep",),
        found_by="current",
        times=3,
    ),
    Fault(
        *("wake-ups doubled", "broker", "no ballot is counted twice", switched("doubled.wake_up")),
        broken=("counts_each_wake_up",),
        found_by="tally",
        times=3,
    ),
    Fault(
        *("gone", "beat", CURRENT, beat_gone),
        broken=("lost.wake_up",),
        found_by="current",
        times=3,
    ),
    Fault(
        *("FLUSHALL of the channel layer, subscriptions cut", "Redis", CURRENT, channels_flushed),
        broken=("never_updates",),
        found_by="current",
        times=3,
    ),
]
