"""Frames per viewer and their cost, at rates from ten to thousands of votes a second."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import Bench
from benchmarks.processes import Meter, load_core
from benchmarks.result import Goal, Row

from . import landslide
from .deliveries import drain
from .landslide import Running
from .viewers import Viewers

NAME = "fanout-rate"
TITLE = "Frames per viewer while votes grow from 10 to 5,000 a second"

#: Half as many viewers as in `fanout`, since the viewers share a core with voters, stores and counting.
VIEWERS, QUICK_VIEWERS = 1_000, 200
RATES = (10, 100, 1_000, 5_000)
TICKS_A_SECOND = 10


@dataclass(frozen=True)
class Sample:
    frames: float  # frames per viewer and second
    cpu: float  # CPU seconds of the web process per second

    def __str__(self) -> str:
        return f"{self.frames:.1f} frames a viewer and second, {self.cpu:.0%} of a core"


def run(bench: Bench) -> list[Row]:
    count = QUICK_VIEWERS if bench.quick else VIEWERS
    ours = landslide.run(bench, bench.until)
    with Viewers(ours.websocket(), load_core()) as viewers:
        viewers.join(count)
        ours.feed(RATES[0], 1.0)
        takes = {called(rate): lambda rate=rate: take(ours, viewers, rate, bench.seconds) for rate in RATES}
        taken: dict[str, list[Sample]] = bench.in_turn(takes)
    frames = {name: [sample.frames for sample in samples] for name, samples in taken.items()}
    cpu = {name: [sample.cpu for sample in samples] for name, samples in taken.items()}
    slowest, fastest = called(RATES[0]), called(RATES[-1])
    note = (
        f"{count:,} viewers. Another process puts ballots into the vote log on a fixed schedule, so the"
        " viewers' web process only broadcasts."
    )
    return [
        Row(
            f"{NAME}.frames",
            f"Tallies per viewer and second {fastest}",
            "frames/s",
            frames.pop(fastest),
            frames,
            [Goal(most=TICKS_A_SECOND)],
            higher_is_better=False,
            note=f"{note} The hub sends at most {TICKS_A_SECOND} updates a second.",
        ),
        Row(
            f"{NAME}.cpu",
            f"CPU seconds of the web process per second {fastest}",
            "CPU-s/s",
            cpu.pop(fastest),
            cpu,
            [Goal(slowest, most=1.2)],
            higher_is_better=False,
        ),
    ]


def called(rate: int) -> str:
    return f"at {rate:,} votes a second"


def take(ours: Running, viewers: Viewers, rate: int, seconds: float) -> Sample:
    viewers.clear()
    meter = Meter(*ours.web)
    ours.feed(rate, seconds)
    cpu = meter.seconds()
    seen = viewers.report()
    drain(viewers)
    if seen.lost:
        raise RuntimeError(f"{seen.lost} viewers were lost")
    return Sample(seen.tallies / seen.viewers / seen.seconds, cpu / seen.seconds)
