"""Compute when a tally reached all viewers, from each viewer's steps. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from .viewers import Moves


def reached_all(moves: Moves) -> list[tuple[float, int]]:
    """Return (when, ballots): from then on every viewer's newest tally shows that many ballots or more.

    Includes all viewers that made a step; times and ballots both increase.
    """
    steps = sorted(chain.from_iterable(((t, old, new) for t in times) for (old, new), times in moves.items()))
    at: Counter[int] = Counter()
    entered: Counter[int] = Counter()
    for _, old, new in steps:
        # A viewer's first step starts at a level to which no viewer stepped: where it was before.
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
    """For each (when, ballots by then), return the delay until everybody saw that many; inf if never."""
    found = []
    at = 0
    for when, ballots in cast:
        while at < len(reached) and reached[at][1] < ballots:
            at += 1
        found.append(reached[at][0] - when if at < len(reached) else float("inf"))
    return found


def each_delay(moves: Moves, cast: Sequence[tuple[float, int]]) -> list[float]:
    """Return the delay per viewer and cast until that viewer saw at least that many ballots."""
    found = []
    for (old, new), times in moves.items():
        due = [when for when, ballots in cast if old < ballots <= new]
        found += [time - when for when in due for time in times]
    return found
