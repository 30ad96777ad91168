"""Control of the crowd of viewers by the measuring process."""

from __future__ import annotations

import pickle
import resource
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.orders import Ordered, OrderFailed

#: Keys are steps (from, to) in numbers of ballots. Values say when viewers made this step, in monotonic
#: seconds.
Moves = dict[tuple[int, int], "array[float]"]


@dataclass(frozen=True)
class Door:
    """A server's address for viewers, and the protocol there."""

    dialect: str
    address: str  # host:port
    path: str


@dataclass(frozen=True)
class Seen:
    """The tallies that viewers saw between `clear` and `report`."""

    seconds: float
    viewers: int
    tallies: int
    others: int
    lost: int
    cpu: float
    moves: Moves


def allow_many_files() -> None:
    """Raise the limit of open files to the maximum, here and in child processes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Viewers(Ordered):
    """`with Viewers(door, cpus={1}) as viewers: viewers.join(2000)`."""

    def __init__(self, door: Door, cpus: set[int] | None = None) -> None:
        allow_many_files()
        self._folder = TemporaryDirectory(prefix="landslide-viewers-")
        super().__init__("benchmarks.fanout.crowd", [door.dialect, door.address, door.path], cpus=cpus)

    def __exit__(self, *_: Any) -> None:
        super().__exit__()
        self._folder.cleanup()

    def join(self, count: int, **options: Any) -> dict[str, Any]:
        """Raise OrderFailed unless all viewers connected and saw a tally."""
        answer = self.order("join", count=count, **options)
        if answer["missing"]:
            raise OrderFailed(f"{answer['missing']} of {count} viewers did not get in.")
        return answer

    def rejoin(self, *, jitter: bool) -> dict[str, Any]:
        return self.order("rejoin", jitter=jitter)

    def lose_all(self, drop: Callable[[], object], *, jitter: bool) -> dict[str, Any]:
        """Drop all connections with `drop`. Return the time until all viewers were back."""
        self.tell("await_return", jitter=jitter)
        drop()
        return self.answer()

    def clear(self) -> None:
        self.order("clear")

    def levels(self) -> tuple[int, int]:
        answer = self.order("levels")
        return answer["lowest"], answer["highest"]

    def report(self) -> Seen:
        file = Path(self._folder.name) / "moves"
        answer = self.order("report", file=str(file))
        return Seen(**answer, moves=pickle.loads(file.read_bytes()))
