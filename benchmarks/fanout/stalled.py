"""The effect of viewers that read nothing on other viewers and on the server's memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.load.plan import percentiles
from benchmarks.measure import Bench
from benchmarks.processes import KIB, load_core, pss
from benchmarks.result import Goal, Row

from . import landslide
from .deliveries import drain
from .landslide import BALLOTS_A_SECOND, Running
from .reach import each_delay
from .viewers import Viewers

NAME = "fanout-stalled"
TITLE = "5 % of viewers stalled at a zero window"

VIEWERS, QUICK_VIEWERS = 2_000, 200
STALLED = 0.05
#: A load of 25 seconds is long enough to fill the kernel's buffer of a stalled socket.
SECONDS, QUICK_SECONDS = 25.0, 5.0
WITH, WITHOUT = "with stalled viewers", "none stalled"


@dataclass(frozen=True)
class Sample:
    p99: float  # ms from when ballots were due until a healthy viewer saw them
    memory: float  # MiB of the web process with all viewers

    def __str__(self) -> str:
        return f"p99 {self.p99:.0f} ms, {self.memory:.1f} MiB"


def run(bench: Bench) -> list[Row]:
    count = QUICK_VIEWERS if bench.quick else VIEWERS
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    ours = landslide.run(bench, bench.until)
    take(ours, count, 0, 1.0)  # the first crowd costs more than later ones
    stalled = round(count * STALLED)
    taken: dict[str, list[Sample]] = bench.in_turn(
        {
            WITHOUT: lambda: take(ours, count, 0, seconds),
            WITH: lambda: take(ours, count, stalled, seconds),
        }
    )
    p99 = {name: [sample.p99 for sample in samples] for name, samples in taken.items()}
    memory = {name: [sample.memory for sample in samples] for name, samples in taken.items()}
    note = (
        f"{count:,} viewers. For {seconds:g} s, {stalled} of them read nothing, with the smallest receive"
        " buffer that the system allows, while a tally is due ten times a second."
    )
    return [
        Row(
            f"{NAME}.p99",
            "From a ballot's append until a healthy viewer sees it, p99",
            "ms",
            p99[WITH],
            {WITHOUT: p99[WITHOUT]},
            [Goal(WITHOUT, most=1.25)],
            higher_is_better=False,
            note=note,
        ),
        Row(
            f"{NAME}.memory",
            "Memory of the web process (PSS)",
            "MiB",
            memory[WITH],
            {WITHOUT: memory[WITHOUT]},
            [Goal(WITHOUT, most=1.1)],
            higher_is_better=False,
        ),
    ]


def take(ours: Running, count: int, stalled: int, seconds: float) -> Sample:
    with Viewers(ours.websocket(), load_core()) as viewers:
        viewers.join(count - stalled)
        if stalled:
            viewers.join(stalled, stalled=True)
        ours.feed(BALLOTS_A_SECOND, 1.0)
        drain(viewers)
        before = viewers.levels()[0]
        viewers.clear()
        cast = ours.feed(BALLOTS_A_SECOND, seconds)
        memory = pss(*ours.web) / KIB / KIB
        drain(viewers)
        seen = viewers.report()
    if seen.lost:
        raise RuntimeError(f"{seen.lost} healthy viewers were lost")
    delays = each_delay(seen.moves, [(when, before + ballots) for when, ballots in cast])
    time.sleep(1.0)  # by then the server has noticed that the viewers are gone
    return Sample(percentiles(delays)["p99"], memory)
