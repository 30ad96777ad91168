"""Processes are killed at every named step, and at random moments."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.faults.experiment import Fault, Scene

HOLDS = "no acknowledged ballot is lost, and none is counted twice"
#: A build that counts without one transaction, and adds to the tally what the ledger refused.
LOOSE = ("no_transaction", "ledger_unchecked")


def killed_at(step: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        scene.harness.kill_at(step)
        scene.struck()
        scene.wait_for_acknowledgements()

    return strike


def killed_before_it_tells(scene: Scene) -> None:
    """Kill the worker before it announces the last ballots. No later announcement replaces the lost one."""
    scene.all_counted()
    scene.failpoints.arm("worker.before_announce", "kill")
    scene.load.cast("first", 5)
    scene.wait_taken("worker.before_announce")
    scene.struck()
    scene.wait_current("the announcement was lost with the worker")
    scene.harness.wait_whole()


def at_random(scene: Scene) -> None:
    """Kill a web process and a worker, whatever they are doing."""
    for role in ("web", "worker"):
        if pids := scene.harness.pids(role):  # type: ignore[arg-type]
            scene.harness.kill(random.choice(pids))
            scene.struck()
    scene.wait_for_acknowledgements(50)
    scene.harness.wait_whole()


ROWS = [
    Fault(
        *("SIGKILL before the append", "web", HOLDS, killed_at("web.before_append")),
        broken=("acks_before_append",),
        found_by="lost",
        times=4,
    ),
    Fault(
        *("SIGKILL after the append, before the answer", "web", HOLDS, killed_at("web.after_append")),
        broken=("forgets_claims",),
        found_by="doubled",
        times=4,
    ),
    Fault(
        *("SIGKILL in the transaction, before the ledger", "worker", HOLDS, killed_at("worker.before_batch")),
        broken=("trims_first",),
        found_by="lost",
        times=4,
    ),
    Fault(
        *("SIGKILL in the transaction, after the ledger", "worker", HOLDS, killed_at("worker.after_ledger")),
        broken=("no_transaction",),
        found_by="tally",
        times=4,
    ),
    Fault(
        *("SIGKILL in the transaction, after the tally", "worker", HOLDS, killed_at("worker.after_tally")),
        broken=LOOSE,
        found_by="tally",
        times=4,
    ),
    Fault(
        *("SIGKILL before the commit", "worker", HOLDS, killed_at("worker.before_commit")),
        broken=(*LOOSE, "moves_late"),
        found_by="tally",
        times=4,
    ),
    Fault(
        *("SIGKILL after the commit, before the trim", "worker", HOLDS, killed_at("worker.after_commit")),
        broken=("moves_late", "ledger_unchecked"),
        found_by="tally",
        times=4,
    ),
    Fault(
        *("SIGKILL after the trim", "worker", HOLDS, killed_at("worker.after_trim")),
        broken=("trims_first",),
        found_by="lost",
        times=4,
    ),
    Fault(
        *("SIGKILL before the announcement", "worker", "screens become current without it"),
        killed_before_it_tells,
        broken=("never_updates",),
        found_by="current",
        times=4,
    ),
    Fault(
        *("SIGKILL at random", "web, worker", HOLDS, at_random),
        broken=("acks_before_append",),
        found_by="lost",
        times=25,
    ),
]
