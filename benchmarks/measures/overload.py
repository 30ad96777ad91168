"""Ballots at three times the capacity: how many are accepted, how fast, and how many get no answer.

The whole system, and nginx if it is in front, shares one core, so that no part escapes the overload. The load
has the other core to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from benchmarks.load import Report
from benchmarks.measure import Bench
from benchmarks.processes import pid_of, pin, server_core
from benchmarks.result import Goal, Row
from benchmarks.targets import OurSystem
from benchmarks.targets.base import sound
from tests.servers import Nginx, started

NAME = "overload"
TITLE = "Three times the capacity"
TIMES = 3
CONNECTIONS = 128  # connections at the peak, enough to fill each append
MOST_CONNECTIONS = 4_000  # under overload a voter without a free connection opens a new connection
SHED = "503"


@dataclass
class Sample:
    """Measure the peak, and an overload right after it."""

    peak: Report
    over: Report

    def __str__(self) -> str:
        return (
            f"peak {self.peak.goodput:,.0f}/s, p99 {self.peak.latency['p99']:.0f} ms; "
            f"at {TIMES} ×: {self.over.goodput:,.0f}/s, p99 {self.over.latency['p99']:.0f} ms, "
            f"{self.over.statuses}"
        )


def run(bench: Bench) -> list[Row]:
    target = OurSystem(bench, web=1, worker=1, env={"TRUSTED_PROXIES": "127.0.0.1"})
    # deploy/nginx.conf says to allow 128 ballots for each web process, and this system has one.
    front = Nginx(target.port, {"max_conns=256": "max_conns=128"})
    bench.until.enter_context(started(front))
    pin([*target.behind, pid_of(front)], server_core())
    fronts = {"bare": target.port, "nginx": front.port}
    for port in fronts.values():
        through(target, port, seconds=1, connections=CONNECTIONS)
    taken = bench.in_turn({name: partial(take, bench, target, port) for name, port in fronts.items()})
    return [
        *rows("bare", "without nginx", taken["bare"], least=0.6),
        *rows("nginx", "behind the supplied nginx", taken["nginx"], least=0.9),
        unknown(taken),
    ]


def take(bench: Bench, target: OurSystem, port: int) -> Sample:
    peak = sound(through(target, port, seconds=bench.seconds, connections=CONNECTIONS))
    over = through(
        target, port, seconds=bench.seconds, rate=TIMES * peak.goodput, connections=CONNECTIONS,
        most_connections=MOST_CONNECTIONS,
    )  # fmt: skip
    target.wait_until_quiet()
    return Sample(peak, sound(over, refused=[SHED, "unknown", "no connection"]))


def through(target: OurSystem, port: int, **options: float) -> Report:
    ours, target.port = target.port, port
    try:
        return target.offer(**options)
    finally:
        target.port = ours


def rows(name: str, where: str, samples: list[Sample], least: float) -> list[Row]:
    shed = sum(s.over.statuses.get(SHED, 0) for s in samples) / sum(s.over.sent for s in samples)
    return [
        Row(
            f"{NAME}.{name}.goodput", f"Ballots accepted at {TIMES} × the capacity, {where}", "ballots/s",
            [s.over.goodput for s in samples], {"its peak": [s.peak.goodput for s in samples]},
            [Goal("its peak", least=least)],
            against_itself=True,
            note=f"The whole system runs on one core. {shed:.0%} of the requests got 503 with Retry-After.",
        ),
        Row(
            f"{NAME}.{name}.p99", f"p99 of accepted ballots at {TIMES} × the capacity, {where}", "ms",
            [s.over.latency["p99"] for s in samples], {"its peak": [s.peak.latency["p99"] for s in samples]},
            [Goal("its peak", most=2)], higher_is_better=False,
            against_itself=True,
            note=f"Counted from when a ballot was due. The peak was measured with {CONNECTIONS} connections.",
        ),
    ]  # fmt: skip


def unknown(taken: dict[str, list[Sample]]) -> Row:
    lost = [float(s.over.unknown + s.over.waiting) for samples in taken.values() for s in samples]
    title = f"Ballots without an answer at {TIMES} × the capacity"
    return Row(f"{NAME}.unknown", title, "ballots", lost, {}, [Goal(most=0)], higher_is_better=False)
