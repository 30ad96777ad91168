"""The rows of the fault matrix, one module per kind of fault. tests/README.md says how to add a row."""

from tests.faults.experiment import Fault
from tests.faults.rows import (
    astray,
    calm,
    clock,
    cut,
    frozen,
    full,
    hints,
    killed,
    partly,
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
    *partly.ROWS,
    *clock.ROWS,
    *astray.ROWS,
    *poison.ROWS,
    *viewers.ROWS,
    *frozen.ROWS,
]
BUILDS: list[Fault] = calm.BUILDS
