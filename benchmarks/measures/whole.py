"""Everything at once: ballots accepted, counted and shown to a viewer, per second.

All processes share the machine's cores, including the load. The time runs from the first ballot until a
viewer has seen the last, so ballots that only wait in the log don't raise the figure. Afterwards every
acknowledged ballot is looked up in the ledger.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Report
from benchmarks.measure import Bench
from benchmarks.processes import Meter
from benchmarks.result import Goal, Row
from benchmarks.targets import OurSystem, Stock, Target
from benchmarks.targets.base import sound
from benchmarks.viewer import Viewer

NAME = "whole"
TITLE = "Accepted, counted and shown"
SECONDS, QUICK_SECONDS = 60.0, 10.0
#: Stock recounts its whole table for each vote, so it slows down as the table grows. A short run favours
#: stock.
STOCK_SECONDS, QUICK_STOCK_SECONDS = 20.0, 6.0
REPEATS = 2
CONNECTIONS = (8, 32, 128)  # all three numbers are tried; each system keeps its best
BACKLOG_SECONDS = 2  # the goal for the time from the last answer until a viewer has seen the last ballot
ANY_CORE = set(os.sched_getaffinity(0))


@dataclass
class Sample:
    ballots: int
    shown_per_second: float
    accepted_per_second: float
    backlog_seconds: float  # from the last ballot's answer until a viewer has seen the ballot
    lost: int
    spent: dict[str, float]  # CPU seconds by part of the system

    @property
    def shares(self) -> str:
        total = sum(self.spent.values())
        return ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in self.spent.items())

    def __str__(self) -> str:
        return (
            f"{self.shown_per_second:,.0f}/s shown of {self.ballots:,} ballots, accepted"
            f" {self.accepted_per_second:,.0f}/s, the last seen after {self.backlog_seconds:.2f} s,"
            f" {self.lost} lost; CPU: {self.shares}"
        )


def run(bench: Bench) -> list[Row]:
    bench.repeats = 1 if bench.quick else min(bench.repeats, REPEATS)
    ours, stock = WatchedOurs(bench), WatchedStock(bench)
    best = {target.name: best_connections(bench, target) for target in (ours, stock)}
    our_seconds, stock_seconds = (
        (QUICK_SECONDS, QUICK_STOCK_SECONDS) if bench.quick else (SECONDS, STOCK_SECONDS)
    )
    taken = bench.in_turn(
        {
            "landslide": lambda: take(bench, ours, our_seconds, best["landslide"]),
            "stock": lambda: take(bench, stock, stock_seconds, best["stock"]),
        }
    )
    return rows(taken, our_seconds)


def best_connections(bench: Bench, target: Target) -> int:
    target.warm_up()
    paces = {number: target.offer(ANY_CORE, seconds=2, connections=number).goodput for number in CONNECTIONS}
    best = max(paces, key=paces.__getitem__)
    bench.say(f"  {target.name}: {best} connections do best of {', '.join(map(str, CONNECTIONS))}")
    return best


def take(bench: Bench, target: WatchedOurs | WatchedStock, seconds: float, connections: int) -> Sample:
    target.fresh()
    journal = bench.home / "journal"
    before = target.wait_until_quiet()
    viewer = target.viewer()
    load = target.load(ANY_CORE, seconds=seconds, connections=connections, journal=str(journal))
    meters = {part: Meter(*pids) for part, pids in target.parts.items()}
    started = time.perf_counter()
    load.go()
    report: Report = sound(target.used(load.wait()))
    viewer.wait_for(before + report.accepted, seconds=4 * seconds)
    ended = max(viewer.seen_at, started + report.seconds)
    viewer.close()
    spent = {part: meter.seconds() for part, meter in meters.items()} | {"the load": report.cpu_seconds}
    return Sample(
        report.accepted,
        report.accepted / (ended - started),
        report.accepted / report.seconds,
        ended - (started + report.seconds),
        target.lost(journal, before + report.accepted),
        spent,
    )


class WatchedOurs(OurSystem):
    fastest = 15_000

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, web=2, worker=2)

    def fresh(self) -> None:
        self.new_poll()

    def viewer(self) -> Viewer:
        return Viewer(f"{self.system.ws_url}/ws/polls/{self.code}/", lambda message: message.get("ballots"))

    def lost(self, journal: Path, ballots: int) -> int:
        """Count acknowledged ballots missing in the ledger, and any difference between ledger and tally."""
        acknowledged = {bytes.fromhex(line.replace("-", "")) for line in journal.read_text().split()}
        which = "FROM polls_ballot JOIN polls_poll ON polls_poll.id = poll_id WHERE code = %s"
        ledger = {bytes(row[0]) for row in self.sql(f"SELECT ballot_id {which}", self.code)}
        tally = self.tally()
        by_choice = dict(self.sql(f"SELECT selection, count(*) {which} GROUP BY selection", self.code))
        shown = {str(choice["number"]): choice["votes"] for choice in tally["choices"]}
        if len(ledger) != tally["ballots"] or by_choice != shown:
            raise AssertionError(f"The tally {shown} is not what the ledger says: {by_choice}.")
        return len(acknowledged - ledger)


class WatchedStock(Stock):
    def fresh(self) -> None:
        pass  # keep the poll: the template needs its one-digit id, and the few counted votes cost little

    def wait_until_quiet(self) -> int:
        while self.backlog():
            time.sleep(0.2)
        return self.counted()

    def viewer(self) -> Viewer:
        return Viewer(self.ws_url, lambda message: sum(message["votes"].values()))

    def lost(self, journal: Path, ballots: int) -> int:
        return ballots - self.counted()


def rows(taken: dict[str, list[Sample]], seconds: float) -> list[Row]:
    ours, stock = taken["landslide"], taken["stock"]
    count = f"{len(ANY_CORE)} cores for everything, including the load"
    return [
        Row(
            f"{NAME}.shown", "Ballots accepted, counted and shown per second", "ballots/s",
            [s.shown_per_second for s in ours], {"stock": [s.shown_per_second for s in stock]},
            [Goal("stock", least=80)],
            note=f"For {seconds:.0f} s, on {count}. Shares of the CPU time: {ours[-1].shares}.",
        ),
        Row(
            f"{NAME}.backlog", "From the last ballot's answer until a viewer saw it counted", "s",
            [s.backlog_seconds for s in ours], {},
            [Goal(most=BACKLOG_SECONDS)], higher_is_better=False,
            note=f"After {seconds:.0f} s at full speed. A growing backlog would make this time long.",
        ),
        Row(
            f"{NAME}.lost", "Acknowledged ballots that are not in the ledger", "ballots",
            [float(s.lost) for s in ours], {}, [Goal(most=0)], higher_is_better=False,
            note=f"Of {sum(s.ballots for s in ours):,} ballots. The tally equals a count of the ledger.",
        ),
    ]  # fmt: skip
