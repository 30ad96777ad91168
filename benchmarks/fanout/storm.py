"""The time until all viewers are up to date after all of them lost their connections at once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import POSTGRESQL, Bench
from benchmarks.result import Goal, Row
from tests.servers import PostgreSQL, started

from . import landslide
from .landslide import Running
from .viewers import Viewers

NAME = "fanout-storm"
TITLE = "5,000 viewers reconnecting at once"

VIEWERS, QUICK_VIEWERS = 5_000, 500
PROCESSES = 2
IDLE_SECONDS = 3.0
AT_ONCE, JITTERED, KILLED = "at once", "with the page's jitter", "web processes killed, with jitter"
#: Statements that read a poll or its tally, including those of an idle system.
READS = "SELECT queryid, calls FROM pg_stat_statements WHERE query ~ '^SELECT.*(polls|analytics)_'"


@dataclass(frozen=True)
class Sample:
    seconds: float
    reads: float  # database reads in addition to those of an idle system
    lost: int

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.reads:.0f} reads, {self.lost} tries failed"


def run(bench: Bench) -> list[Row]:
    count = QUICK_VIEWERS if bench.quick else VIEWERS
    postgresql = PostgreSQL(durable=True, **POSTGRESQL, shared_preload_libraries="pg_stat_statements")
    bench.until.enter_context(started(postgresql))
    ours = landslide.run(bench, bench.until, apart=False, web=PROCESSES, postgresql=postgresql)
    storm = Storm(ours, postgresql, count)
    taken: dict[str, list[Sample]] = bench.in_turn(
        {
            AT_ONCE: lambda: storm.take(lambda viewers: viewers.rejoin(jitter=False)),
            JITTERED: lambda: storm.take(lambda viewers: viewers.rejoin(jitter=True)),
            KILLED: lambda: storm.take(lambda viewers: viewers.lose_all(storm.kill_web, jitter=True)),
        }
    )
    seconds = {name: [sample.seconds for sample in samples] for name, samples in taken.items()}
    reads = {name: [sample.reads / PROCESSES for sample in samples] for name, samples in taken.items()}
    return [
        Row(
            f"{NAME}.seconds",
            "Time from the loss of all connections until all viewers have a current tally",
            "s",
            seconds.pop(AT_ONCE),
            seconds,
            [Goal(most=5)],
            higher_is_better=False,
            note=f"{count:,} viewers of {PROCESSES} web processes. Viewers and stores share the same cores.",
        ),
        Row(
            f"{NAME}.reads",
            "Database reads until all viewers are current, per poll and web process",
            "reads",
            reads.pop(AT_ONCE),
            reads,
            [Goal(most=10)],
            higher_is_better=False,
            note="In addition to the reads of an idle system in the same time.",
        ),
    ]


class Storm:
    def __init__(self, ours: Running, postgresql: PostgreSQL, count: int) -> None:
        self.ours, self.count = ours, count
        self._statistics = postgresql.connect(ours.system.database)
        self._statistics.execute("CREATE EXTENSION pg_stat_statements")

    def take(self, storm: Any) -> Sample:
        with Viewers(self.ours.websocket()) as viewers:
            viewers.join(self.count)
            self.ours.feed(100, 1.0)
            time.sleep(1.0)
            idle = self.reads()
            time.sleep(IDLE_SECONDS)
            before = self.reads()
            answer = storm(viewers)
            after = self.reads()
        if answer["missing"]:
            raise RuntimeError(f"{answer['missing']} viewers did not come back")
        time.sleep(1.0)  # by then the servers have noticed that the viewers are gone
        usual = answer["seconds"] / IDLE_SECONDS
        extra = sum(
            max(0.0, calls - before[query] - (before[query] - idle[query]) * usual)
            for query, calls in after.items()
        )
        return Sample(answer["seconds"], extra, answer["lost"])

    def reads(self) -> Counter[int]:
        """Return how often each statement has run."""
        return Counter(dict(self._statistics.execute(READS).fetchall()))

    def kill_web(self) -> None:
        """Kill the web processes. The supervisor starts new web processes."""
        for pid in self.ours.web:
            os.kill(pid, signal.SIGKILL)
