"""Sorts any number of lines. Lines that are too many for memory are sorted on disk."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO

#: The number of lines that are sorted in memory, as one run. Several runs are written to disk and merged.
RUN = 500_000


def sorted_lines(lines: Iterable[str], folder: Path) -> Iterator[str]:
    """Sort lines (ASCII, each with its newline) by their bytes. Reads all of `lines` before it returns."""
    runs: list[IO[str]] = []
    source = iter(lines)
    while run := sorted(islice(source, RUN)):
        if not runs and len(run) < RUN:
            return iter(run)
        runs.append(_written(run, folder))
    return _merged(runs)


def _written(run: Sequence[str], folder: Path) -> IO[str]:
    file = tempfile.TemporaryFile("w+", dir=folder, encoding="ascii", newline="\n")  # noqa: SIM115
    file.writelines(run)
    file.seek(0)
    return file


def _merged(runs: Sequence[IO[str]]) -> Iterator[str]:
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run)
        yield from heapq.merge(*runs)
