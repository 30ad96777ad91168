"""Results of a measure: samples taken in turn, their medians and ratios, and whether goals are met."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A bound on Landslide's figure or, if `peer` is set, on its ratio to the peer's figure."""

    peer: str | None = None
    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether the value is within the bound. NaN, a missing figure, is never within it."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        bounds = [f"≥ {number(self.least)}"] if self.least is not None else []
        bounds += [f"≤ {number(self.most)}"] if self.most is not None else []
        return " and ".join(bounds) + (f" × {self.peer}" if self.peer else "")


@dataclass(frozen=True)
class Verdict:
    goal: Goal
    value: float  # NaN if a figure is missing

    @property
    def reached(self) -> bool:
        return not math.isnan(self.value) and self.goal.holds(self.value)


@dataclass
class Row:
    """A row of the table: the samples of Landslide and of each peer, one sample per repeat, in order.

    `against_itself`: the row's "peers" are Landslide under other conditions. The plot leaves such rows out.
    """

    name: str
    title: str
    unit: str
    ours: list[float]
    peers: dict[str, list[float]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    higher_is_better: bool = True
    note: str = ""
    against_itself: bool = False

    @property
    def median(self) -> float:
        return middle(self.ours)

    @property
    def spread(self) -> tuple[float, float]:
        return lowest_and_highest(self.ours)

    def peer_median(self, peer: str) -> float:
        return middle(self.peers.get(peer, []))

    def peer_spread(self, peer: str) -> tuple[float, float]:
        return lowest_and_highest(self.peers.get(peer, []))

    def ratio(self, peer: str) -> float:
        """Return the ratio of the medians."""
        return divided(self.median, self.peer_median(peer))

    def ratio_spread(self, peer: str) -> tuple[float, float]:
        """Return the range of the single repeats' ratios, whose samples were taken right after each other."""
        pairs = zip(self.ours, self.peers.get(peer, []), strict=False)
        return lowest_and_highest([divided(ours, theirs) for ours, theirs in pairs])

    def verdicts(self) -> Iterator[Verdict]:
        for goal in self.goals:
            yield Verdict(goal, self.median if goal.peer is None else self.ratio(goal.peer))

    @property
    def reached(self) -> bool:
        return all(verdict.reached for verdict in self.verdicts())


@dataclass
class Outcome:
    """The outcome of a measure's run: rows or the reason why there are none, the machine and the command."""

    name: str
    title: str
    command: str
    rows: list[Row] = field(default_factory=list)
    failure: str = ""  # the reason, if the measure failed
    skipped: str = ""  # the reason, if this machine can't run the measure
    date: str = ""
    seconds: float = 0
    quick: bool = False
    repeats: int = 0
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, stored: dict[str, Any]) -> Outcome:
        rows = [
            Row(**(row | {"goals": [Goal(**goal) for goal in row["goals"]]})) for row in stored.pop("rows")
        ]
        return cls(rows=rows, **stored)


class Results:
    """The latest outcome of each measure, in a file. A run of a measure replaces only its own outcome."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, Outcome] = {}
        if path.exists():
            stored = json.loads(path.read_text())
            self.outcomes = {each["name"]: Outcome.load(each) for each in stored["measures"]}

    def keep(self, outcome: Outcome) -> None:
        self.outcomes[outcome.name] = outcome

    def save(self) -> None:
        stored = {"measures": [asdict(outcome) for outcome in self.outcomes.values()]}
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        os.replace(beside, self.path)


def middle(values: list[float]) -> float:
    return median(values) if values else math.nan


def lowest_and_highest(values: list[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (math.nan, math.nan)


def divided(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else math.nan


def number(value: float) -> str:
    """Format a figure with three significant digits, which is its precision."""
    if math.isnan(value):
        return "–"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
