"""Compute when tallies reached all viewers, from each viewer's steps from one tally to the next. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from .viewers import Moves


def reached_all(moves: Moves) -> list[tuple[float, int]]:
    """Return pairs (time, n). From this time on, every viewer's newest tally shows at least n ballots.

    Viewers that made no step are left out. Both times and numbers increase.
    """
    steps = sorted(chain.from_iterable(((t, old, new) for t in times) for (old, new), times in moves.items()))
    at: Counter[int] = Counter()
    entered: Counter[int] = Counter()
    for _, old, new in steps:
        # The number of viewers that began at a level is the steps away from this level minus the steps to it.
        at[old] += 1
        entered[new] += 1
    for level, count in entered.items():
        at[level] = max(0, at[level] - count)
    reached: list[tuple[float, int]] = []
    standing = +at
    lowest = min(standing, default=-1)
    for when, old, new in steps:
        standing[old] -= 1
        standing[new] += 1
        if standing[old] <= 0:
            del standing[old]
            if (now_lowest := min(standing)) > lowest:
                lowest = now_lowest
                reached.append((when, lowest))
    return reached


def delays(reached: Sequence[tuple[float, int]], cast: Iterable[tuple[float, int]]) -> list[float]:
    """Return the delay until all viewers saw each (time, ballots cast by then) of `cast`, or inf."""
    found = []
    at = 0
    for when, ballots in cast:
        while at < len(reached) and reached[at][1] < ballots:
            at += 1
        found.append(reached[at][0] - when if at < len(reached) else float("inf"))
    return found


def each_delay(moves: Moves, cast: Sequence[tuple[float, int]]) -> list[float]:
    """Return, for each pair of `cast` and each viewer, the delay until the viewer saw that many ballots."""
    found = []
    for (old, new), times in moves.items():
        due = [when for when, ballots in cast if old < ballots <= new]
        found += [time - when for when in due for time in times]
    return found
