"""The rows of the matrix, by what they are about. How to add one: tests/README.md."""

from tests.faults.campaign import Fault
from tests.faults.rows import calm, cut, hints, killed, stores

ROWS: list[Fault] = [*killed.ROWS, *stores.ROWS, *hints.ROWS, *cut.ROWS]
BUILDS: list[Fault] = calm.BUILDS
