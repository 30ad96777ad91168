"""The delay from a vote's scheduled time until the last viewer saw a tally that includes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load.plan import Report, percentiles
from benchmarks.load.run import LoadFailed
from benchmarks.measure import Bench
from benchmarks.result import Goal, Row
from benchmarks.targets import OurSystem, Stock, Target
from benchmarks.targets.base import sound

from .deliveries import drain
from .reach import delays, reached_all
from .viewers import Door, Viewers

NAME = "shown"
TITLE = "From a vote's scheduled time to the last of 2,000 viewers"

VIEWERS, QUICK_VIEWERS = 2_000, 200
PART_OF_CAPACITY = 0.7
SECONDS, QUICK_SECONDS = 15.0, 3.0
#: The stock stack sends a tally to every viewer for each vote, so a few votes keep it busy long enough.
STOCK_VOTES, STOCK_SECONDS = 30, 40.0
STOCK_OFFERED = 10.0  # seconds in which the stock stack must accept the votes
DRAIN = 120


@dataclass(frozen=True)
class Sample:
    p50: float
    p99: float
    rate: float

    def __str__(self) -> str:
        return f"p50 {self.p50:,.0f} ms, p99 {self.p99:,.0f} ms at {self.rate:,.1f} votes/s"


def everywhere() -> set[int]:
    """Return all cores. Servers, stores, workers, voters and viewers share them."""
    return os.sched_getaffinity(0)


def run(bench: Bench) -> list[Row]:
    count = QUICK_VIEWERS if bench.quick else VIEWERS
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    ours, stock = OurSystem(bench), Stock(bench)
    doors = {
        ours.name: Door("websocket", f"127.0.0.1:{ours.port}", f"/ws/polls/{ours.code}/"),
        stock.name: Door("websocket", f"127.0.0.1:{stock.port}", "/ws/polls/1/"),
    }
    ours.warm_up()
    stock.offer(count=20, seconds=1)

    def capacity(target: Target, **load: float) -> float:
        with crowd(doors[target.name], count) as viewers:
            found = votes_shown_a_second(target, viewers, **load)
        bench.say(f"  {target.name} shows {found:,.1f} votes a second to {count:,} viewers")
        return found

    def taking(target: Target, rate: float, lasting: float) -> Callable[[], Sample]:
        def take() -> Sample:
            with crowd(doors[target.name], count) as viewers:
                return at_rate(target, viewers, rate, lasting)

        return take

    rate = PART_OF_CAPACITY * capacity(ours, seconds=bench.seconds, connections=64)
    stock_rate = PART_OF_CAPACITY * capacity(stock, seconds=STOCK_OFFERED, count=STOCK_VOTES, connections=4)
    # The run of the stock stack lasts long enough for a p99, within the time that a run may take.
    stock_seconds = min(STOCK_SECONDS, max(seconds, STOCK_VOTES / stock_rate))
    taken: dict[str, list[Sample]] = bench.in_turn(
        {
            ours.name: taking(ours, rate, seconds),
            stock.name: taking(stock, stock_rate, stock_seconds),
        }
    )
    return [row(taken, count)]


def crowd(door: Door, count: int) -> Viewers:
    viewers = Viewers(door)
    try:
        viewers.join(count)
        drain(viewers)
    except BaseException:
        viewers.__exit__()
        raise
    return viewers


def votes_shown_a_second(target: Target, viewers: Viewers, **load: float) -> float:
    """Return the votes per second at full speed, until the last viewer has seen the last vote."""
    before = viewers.levels()[0]
    viewers.clear()
    report = sound(target.offer(cores=everywhere(), **load))
    reached = until_seen(viewers, before + report.accepted)
    return report.accepted / (reached[-1][0] - report.started)


def at_rate(target: Target, viewers: Viewers, rate: float, seconds: float) -> Sample:
    before = viewers.levels()[0]
    viewers.clear()
    report = sound(target.offer(cores=everywhere(), rate=rate, seconds=seconds, connections=64))
    if report.accepted != report.sent:
        raise LoadFailed(f"{report.sent - report.accepted} of {report.sent} votes were not accepted")
    reached = until_seen(viewers, before + report.accepted)
    found = percentiles(delays(reached, schedule(report, rate, before)))
    return Sample(found["p50"], found["p99"], rate)


def schedule(report: Report, rate: float, before: int) -> list[tuple[float, int]]:
    """Return each vote's due time and number n. Tallies with n or more ballots include this vote."""
    return [(report.started + number / rate, before + number + 1) for number in range(report.sent)]


def until_seen(viewers: Viewers, ballots: int) -> list[tuple[float, int]]:
    """Wait until all viewers have seen all ballots. Return pairs as `reached_all` does."""
    drain(viewers, DRAIN, ballots)
    lowest, seen = viewers.levels()[0], viewers.report()
    reached = reached_all(seen.moves)
    if lowest < ballots or not reached or seen.lost:
        raise RuntimeError(f"not all viewers saw {ballots} ballots: one saw {lowest}, {seen.lost} were lost")
    return reached


def row(taken: dict[str, list[Sample]], count: int) -> Row:
    rates = ", ".join(f"{name} {samples[0].rate:,.1f}" for name, samples in taken.items())
    halves = ", ".join(
        f"{name} {sorted(sample.p50 for sample in samples)[len(samples) // 2]:,.0f}"
        for name, samples in taken.items()
    )
    p99 = {name: [sample.p99 for sample in samples] for name, samples in taken.items()}
    return Row(
        f"{NAME}.p99",
        f"From a vote until the last of {count:,} viewers sees it, p99 at 70 % of capacity",
        "ms",
        p99.pop("landslide"),
        p99,
        [Goal(most=250), Goal("stock", most=0.3)],
        higher_is_better=False,
        note=f"Counted from a vote's scheduled time. All processes share the same cores."
        f" Votes a second: {rates}. Medians, ms: {halves}.",
    )
