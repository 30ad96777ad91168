"""The fault matrix: run each row on a real system, and then again on a build that is broken on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.experiment import Experiment, Fault, Outcome
from tests.faults.harness import Harness
from tests.faults.load import Pace
from tests.faults.rows import BUILDS, ROWS

#: The least number of ballots in a full run, for all rows together.
BALLOTS = 200_000
SHORT = Pace()
BROKEN = Pace(patience=2.5)
BROKEN_PATIENCE = 6.0  # short, since a broken build may never do what the row waits for


def full_pace() -> Pace:
    each = math.ceil(BALLOTS / len(ROWS))
    return Pace(ballots=each, rate=1_500, in_batches=0.75, batch=100, odd=0.02)


class Harnesses:
    """Start the system that a row needs, and keep it for the following rows with the same options."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._key: Any = None
        self._harness: Harness | None = None

    def of(self, fault: Fault) -> Harness:
        key = repr(fault.harness)
        if self._harness is None or self._key != key:
            self.remove()
            options = self._options | dict(fault.harness or {})
            harness = options.pop("kind", Harness)(**options)
            self._harness, self._key = harness, key
            harness.start()
        return self._harness

    def remove(self) -> None:
        """Remove the system. The next row gets a new one."""
        harness, self._harness = self._harness, None
        if harness is not None:
            harness.remove()


def strike(harnesses: Harnesses, fault: Fault, pace: Pace = SHORT, times: int = 1) -> Outcome:
    """Run one row on the unchanged product."""
    try:
        return Experiment(harnesses.of(fault), fault, pace, times=times).run()
    except BaseException:
        harnesses.remove()  # the system may be damaged
        raise


def strike_broken(
    harnesses: Harnesses, fault: Fault, pace: Pace = BROKEN, patience: float = BROKEN_PATIENCE
) -> Outcome:
    """Run the row on its broken build, which the row's check must detect."""
    try:
        outcome = Experiment(harnesses.of(fault), fault, pace, broken=True, patience=patience).run()
    except BaseException:
        harnesses.remove()
        raise
    if fault.damages:
        harnesses.remove()
    else:
        harnesses.of(fault).skip_what_is_gone()
    return outcome


@dataclass
class Line:
    """The table's line for one row."""

    outcome: Outcome
    broken: Outcome | None = None
    failed: str = ""  # the error that ended the row before it had an outcome

    @property
    def as_expected(self) -> bool:
        found_out = self.broken is None or self.broken.found_out
        return not self.failed and self.outcome.as_expected and found_out


@dataclass
class Matrix:
    lines: list[Line] = field(default_factory=list)

    def total(self, name: str) -> int:
        return sum(int(getattr(line.outcome, name)) for line in self.lines)

    @property
    def as_expected(self) -> bool:
        return all(line.as_expected for line in self.lines)


def in_order(rows: Iterable[Fault]) -> list[Fault]:
    """Sort the rows so that rows with the same system follow each other."""
    return sorted(rows, key=lambda row: repr(row.harness) if row.harness else "")


def run(rows: Sequence[Fault], progress: Callable[[str], None], *, broken: bool = True) -> Iterator[Line]:
    """Run the rows at the full pace. `progress` is called with a text before each of a row's two runs."""
    pace = full_pace()
    harnesses = Harnesses(cookies=60_000)
    try:
        for fault in in_order(rows):
            yield _line(harnesses, fault, pace, progress, broken)
    finally:
        harnesses.remove()


def _line(
    harnesses: Harnesses, fault: Fault, pace: Pace, progress: Callable[[str], None], broken: bool
) -> Line:
    line = Line(Outcome(fault))
    try:
        progress(fault.name)
        if not fault.only_broken:
            line.outcome = strike(harnesses, fault, pace, fault.times)
        if broken:
            progress(f"{fault.name}, broken build")
            line.broken = strike_broken(harnesses, fault)
    except Exception as error:
        line.failed = f"{type(error).__name__}: {error}".splitlines()[0]
    return line


HEAD = (
    *("fault", "on", "expected", "as expected", "faults", "submitted", "acknowledged", "counted", "lost"),
    *("doubled", "slowest answer", "broken build", "remarks"),
)


def cells(line: Line) -> list[str]:
    outcome, fault = line.outcome, line.outcome.fault
    figures = [
        getattr(outcome, name)
        for name in ("faults", "submitted", "acknowledged", "counted", "lost", "doubled")
    ]
    remarks = [line.failed] if line.failed else [*map(str, outcome.breaches), *_once(outcome.remarks)]
    if line.broken is None:
        found = "not run"
    else:
        found = f"detected by *{fault.found_by}*" if line.broken.found_out else "**not detected**"
    return [
        *(fault.name, fault.on, fault.expected, "yes" if line.as_expected else "**no**"),
        *(f"{figure:,}" for figure in figures),
        *(f"{outcome.slowest:.1f} s", found, "; ".join(remarks)),
    ]


def _once(remarks: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(remarks))


def totals(matrix: Matrix) -> Mapping[str, int]:
    names = ("faults", "submitted", "acknowledged", "counted", "lost", "doubled")
    return {name: matrix.total(name) for name in names}


def markdown(matrix: Matrix) -> str:
    rows = [HEAD, ["---"] * len(HEAD), *(cells(line) for line in matrix.lines)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    sums = ", ".join(f"{count:,} {name}" for name, count in totals(matrix).items())
    return f"{table}\n\nIn all: {sums}.\n"


__all__ = [
    "BUILDS",
    "ROWS",
    "Harnesses",
    "Line",
    "Matrix",
    "cells",
    "in_order",
    "markdown",
    "run",
    "strike",
    "strike_broken",
]
