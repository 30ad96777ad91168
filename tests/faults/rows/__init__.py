"""The rows of the matrix, by what they are about. How to add one: tests/README.md."""

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
