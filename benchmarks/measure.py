"""The tools that every measure gets, and the list of measures.

A measure is a module with NAME, TITLE and `run(bench) -> list[Row]`, in one of PLACES. A measure raises Skip
if the machine can't run it, and any other exception if the measure failed. The other measures run in both
cases.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from benchmarks import peers
from benchmarks.load.run import Void
from benchmarks.result import Row
from tests.servers import PostgreSQL, Redis, started
from tests.system import Landslide

#: Modules and packages in the table's order. A package's measures are sorted by name, unless it has an ORDER.
PLACES = ("benchmarks.measures", "benchmarks.counting", "benchmarks.fanout")

#: More memory than PostgreSQL's defaults, which are for small machines. Landslide and the stock stack both
#: use these settings.
POSTGRESQL = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}


TRIES = 3  # per sample


class Skip(Exception):
    """This machine can't run the measure. The message says why."""


class Measure(Protocol):
    NAME: str
    TITLE: str

    def run(self, bench: Bench) -> list[Row]: ...


@dataclass
class Bench:
    """Options, a folder, and servers that are started on first use and stopped with the measure."""

    quick: bool
    repeats: int
    seconds: float  # duration of the load in each repeat
    console: Console
    home: Path
    until: ExitStack = field(default_factory=ExitStack)
    out: Path = Path(__file__).parent  # a folder where a measure may write a picture

    @cached_property
    def postgresql(self) -> PostgreSQL:
        """A PostgreSQL that waits for the disk, as in production."""
        server = PostgreSQL(durable=True, **POSTGRESQL)
        self.until.enter_context(started(server))
        return server

    @cached_property
    def redis(self) -> Redis:
        """A Redis with appendfsync always."""
        server = Redis()
        self.until.enter_context(started(server))
        return server

    def landslide(self, **options: Any) -> Landslide:
        """Start the whole system, by default in full mode, with a Redis of its own."""
        options = {"mode": "full", "collected": self.home.parent / "collected"} | options
        if options["mode"] == "full":
            options.setdefault("postgresql", self.postgresql)
        system = Landslide(**options)
        self.until.enter_context(started(system))
        return system

    def peer(self, name: str) -> Path:
        """Return the folder of benchmarks/peers/<name>, with its npm packages installed, if any."""
        return peers.install(name)

    def say(self, what: str) -> None:
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {escape(what)}", highlight=False)

    def in_turn(self, takes: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
        """Take samples in turn (A B A B …), so that a noisy minute affects all of them."""
        samples: dict[str, list[Any]] = {name: [] for name in takes}
        for repeat in range(1, self.repeats + 1):
            for name, take in takes.items():
                sample = self.sound(take)
                samples[name].append(sample)
                self.say(f"  {name} ({repeat}/{self.repeats}): {sample}")
        return samples

    def sound(self, take: Callable[[], Any]) -> Any:
        """Take a sample. Retry if the load fell behind its schedule, as on a busy machine."""
        for _ in range(TRIES - 1):
            try:
                return take()
            except Void as why:
                self.say(f"  once more, since {why}")
        return take()


@dataclass
class Broken:
    """A placeholder for a measure that can't be imported, so that the table shows the error."""

    NAME: str
    TITLE: str
    error: BaseException

    def run(self, bench: Bench) -> list[Row]:
        raise self.error


def measures() -> Iterator[Measure]:
    for place in PLACES:
        yield from _measures_in(place)


def _measures_in(place: str) -> Iterator[Measure]:
    if importlib.util.find_spec(place) is None:
        return
    package = importlib.import_module(place)
    names = getattr(package, "ORDER", None) or sorted(
        each.name for each in pkgutil.iter_modules(package.__path__)
    )
    for name in names:
        try:
            module: Any = importlib.import_module(f"{place}.{name}")
        except Exception as error:
            yield Broken(name, f"{place}.{name}", error)
            continue
        if hasattr(module, "NAME") and hasattr(module, "run"):
            yield module
