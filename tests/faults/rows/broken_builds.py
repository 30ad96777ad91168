"""No fault: only broken builds, one for each check."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.experiment import Fault, Scene


def nothing(scene: Scene) -> None:
    scene.wait_for_acknowledgements()
    scene.struck()


def _last_few(scene: Scene) -> None:
    scene.load.pause()
    scene.struck()
    scene.last_few("in this build")


def _build(broken: str, found_by: str, strike: Callable[[Scene], None] = nothing) -> Fault:
    return Fault(
        *(f"none, {found_by}", "a broken build", "detected", strike, (broken,), found_by), only_broken=True
    )


#: One broken build for each check, which must detect it.
BUILDS = [
    _build("never_updates", "current", _last_few),
    _build("forgets_claims", "doubled"),
    _build("shows_old_tallies", "backwards"),
    _build("never_appends", "lost"),
    _build("changes_selection", "altered"),
    _build("adds_twice", "tally"),
    _build("never_updates", "screens"),
    _build("random_receipts", "receipts"),
    _build("ignores_gate", "gate"),
    _build("always_unknown", "unsettled"),
    _build("never_says_when", "answers"),
    _build("adds_to_result", "result"),
]
