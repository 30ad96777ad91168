"""SIGKILL at every named step, and at random."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.campaign import Fault, Scene

HOLDS = "journal holds, nothing twice"


def killed_at(step: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        scene.stand.kill_at(step)
        scene.struck()
        scene.wait_for_acknowledgements()

    return strike


ROWS = [
    Fault(
        "SIGKILL before the append",
        "web",
        HOLDS,
        killed_at("web.before_append"),
        broken=("acks_before_append",),
        found_by="lost",
        times=4,
    ),
]
