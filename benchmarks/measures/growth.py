"""The cost of a ballot after millions of others: CPU of all processes per ballot.

At each size of the poll the same number of ballots arrives over HTTP at the same rate. The CPU time is
measured until all ballots are counted. Earlier ballots are real: each has its claim in Redis and its row in
the ledger.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from matplotlib import pyplot

from benchmarks import plot
from benchmarks.measure import Bench, Skip
from benchmarks.processes import Meter
from benchmarks.result import Goal, Row, middle
from benchmarks.targets import OurSystem
from benchmarks.targets.base import sound
from tests.servers import wait_for

NAME = "growth"
TITLE = "As a poll grows"
POINTS = (100_000, 1_000_000, 3_000_000, 10_000_000)
QUICK_POINTS = (100_000, 1_000_000)
RATE = 2_000
REPEATS = 5  # short loads, so that a checkpoint or vacuum in one load doesn't change the median
GIB = 2**30
BYTES_A_BALLOT = {
    "disk": 900,
    "memory": 300,
}  # disk: ledger, index, write-ahead log and Redis's file; memory: claims and Redis's fork
COUNTED = "SELECT coalesce(sum(count), 0) FROM analytics_tally WHERE key = 'ballots'"


def run(bench: Bench) -> list[Row]:
    points = QUICK_POINTS if bench.quick else POINTS
    check_room(points[-1])
    target = OurSystem(bench, web=1, worker=1)
    target.warm_up()
    costs: dict[int, list[float]] = {}
    for point in points:
        seconds = fill(target, point)
        settle(target)
        costs[point] = [bench.sound(lambda: cost(target, min(bench.seconds, 3))) for _ in range(REPEATS)]
        bench.say(f"  {point:,} (filled in {seconds:.0f} s): {middle(costs[point]):.0f} µs a ballot")
    draw(costs, bench.out / "growth.svg")
    first, last = points[0], points[-1]
    curve = ", ".join(f"{middle(each):.0f} after {point:,}" for point, each in costs.items())
    return [
        Row(
            NAME, f"CPU of all processes per ballot, after {last:,} counted ballots", "µs", costs[last],
            {f"after {first:,}": costs[first]}, [Goal(f"after {first:,}", most=1.2)], higher_is_better=False,
            against_itself=True,
            note=f"At {RATE:,} ballots a second, until all are counted. µs: {curve}. Plot: growth.svg.",
        )
    ]  # fmt: skip


def check_room(ballots: int) -> None:
    free = {"disk": shutil.disk_usage(tempfile.gettempdir()).free, "memory": available_memory()}
    for what, each in BYTES_A_BALLOT.items():
        needed = ballots * each + 4 * GIB
        if free[what] < needed:
            there = f"{free[what] / GIB:.0f} are free"
            raise Skip(f"{ballots:,} ballots need about {needed / GIB:.0f} GiB of {what}, and {there}")


def available_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def counted(target: OurSystem) -> int:
    return int(target.sql(COUNTED)[0][0])


def fill(target: OurSystem, ballots: int) -> float:
    """Fill the poll until `ballots` are counted. Return the seconds that this took."""
    started = time.monotonic()
    target.run_inside("benchmarks.targets.fill", target.code, str(max(0, ballots - counted(target))))
    wait_for(lambda: counted(target) >= ballots, 120, "the filled-in ballots to be counted")
    return time.monotonic() - started


def settle(target: OurSystem) -> None:
    """Finish the stores' maintenance after filling, which isn't part of the next ballot's cost."""
    assert target.system.redis
    with target.system.redis.client() as client:
        wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 120, "Redis's rewrite")
    target.sql_without_rows("VACUUM ANALYZE polls_ballot")
    target.sql_without_rows("CHECKPOINT")


def cost(target: OurSystem, seconds: float) -> float:
    """Return µs of CPU per ballot, of web, Redis, worker and PostgreSQL together."""
    load, before = target.load(seconds=seconds, rate=RATE), counted(target)
    everything = Meter(*target.web, *target.behind)
    load.go()
    report = target.used(load.wait())
    while counted(target) < before + report.accepted:
        time.sleep(0.2)
    sound(report)
    return everything.seconds() / report.accepted * 1e6


def draw(costs: dict[int, list[float]], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(6.4, 3))
    sizes = list(costs)
    middles = [middle(each) for each in costs.values()]
    axes.fill_between(
        sizes, [min(each) for each in costs.values()], [max(each) for each in costs.values()],
        color=plot.REACHED, alpha=0.25, linewidth=0,
    )  # fmt: skip
    axes.plot(sizes, middles, color=plot.REACHED, marker="o")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("ballots counted before")
    axes.set_ylabel("µs of CPU a ballot, all processes")
    plot.finish(figure, axes, path)
