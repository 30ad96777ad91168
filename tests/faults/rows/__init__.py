"""The rows of the fault matrix, one module per kind of fault. tests/README.md says how to add a row."""

from tests.faults.experiment import Fault
from tests.faults.rows import (
    broken_builds,
    clock,
    cut,
    damaged_log,
    frozen,
    full,
    hints,
    killed,
    partial_failure,
    poison,
    stores,
    viewers,
)

ROWS: list[Fault] = [
    *killed.ROWS,
    *stores.ROWS,
    *hints.ROWS,
    *cut.ROWS,
    *full.ROWS,
    *partial_failure.ROWS,
    *clock.ROWS,
    *damaged_log.ROWS,
    *poison.ROWS,
    *viewers.ROWS,
    *frozen.ROWS,
]
BUILDS: list[Fault] = broken_builds.BUILDS
