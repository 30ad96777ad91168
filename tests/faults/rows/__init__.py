"""The rows of the matrix, by what they are about. How to add one: tests/README.md."""

from tests.faults.campaign import Fault
from tests.faults.rows import killed

ROWS: list[Fault] = [*killed.ROWS]
