"""No fault at all: what the other rows are compared with, and builds that are broken without one."""

from __future__ import annotations

from tests.faults.campaign import Fault, Scene


def nothing(scene: Scene) -> None:
    scene.wait_for_acknowledgements()
    scene.struck()


def _build(broken: str, found_by: str, damages: bool = False) -> Fault:
    return Fault(f"none: {broken}", "build", "found out", nothing, (broken,), found_by, damages=damages)


#: Each check that no row's broken build is about; these are run broken only.
BUILDS = [
    _build("never_appends", "lost"),
    _build("changes_selection", "altered"),
    _build("adds_twice", "tally"),
    _build("never_looks", "screens"),
    _build("random_receipts", "receipts"),
    _build("ignores_gate", "gate"),
    _build("always_unknown", "unsettled"),
    _build("never_says_when", "answers"),
    _build("adds_to_result", "result"),
]
