"""The cost of delivering one tally to many viewers, and the memory of an idle viewer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.measure import Bench, Skip
from benchmarks.processes import KIB, Meter, load_core, pss
from benchmarks.result import Goal, Row
from benchmarks.targets.stock import Stock

from . import landslide
from .servers import PEERS, STOCK_TALLIES_A_SECOND, TALLIES_A_SECOND, FanOut, stock_fan_out
from .viewers import Door, Viewers

NAME = "fanout"
TITLE = "One tally to many viewers"

VIEWERS, QUICK_VIEWERS = 2_000, 300
FIRST = 50  # viewers that connect before the measurement, for one-time allocations
SETTLE = 2.0
SSE = "landslide, SSE"


@dataclass(frozen=True)
class Sample:
    deliveries: float  # deliveries per CPU second of the serving processes
    memory: float  # KiB of the serving processes per idle viewer

    def __str__(self) -> str:
        micro = 1e6 / self.deliveries
        return f"{self.deliveries:,.0f} deliveries/CPU-s ({micro:.1f} µs), {self.memory:.1f} KiB a viewer"


def run(bench: Bench) -> list[Row]:
    count = QUICK_VIEWERS if bench.quick else VIEWERS
    ours = landslide.run(bench, bench.until)
    template = ours.frame()
    stock = Stock(bench)
    missing: list[str] = []

    def measured(start: Callable[[ExitStack], FanOut]) -> Callable[[], Sample]:
        def take() -> Sample:
            with ExitStack() as until:
                return measure(start(until), count, bench.seconds)

        return take

    def fresh(door: Door) -> FanOut:
        """Start a new web process, since one that has served a crowd keeps its memory."""
        ours.restart_web()
        return ours.fan_out(door)

    def fresh_stock(until: ExitStack) -> FanOut:
        stock.server.restart()
        stock.keep_web_apart()
        return stock_fan_out(stock, until, template)

    takes = {"landslide": measured(lambda _: fresh(ours.websocket()))}
    if ours.has_sse():
        takes[SSE] = measured(lambda _: fresh(ours.sse()))
    else:
        missing.append("server-sent events are not there yet")
    takes["stock"] = measured(fresh_stock)
    for name, start in PEERS.items():
        try:
            with ExitStack() as until:
                start(bench, until, template)
        except Skip as reason:
            missing.append(f"{name}: {reason}")
        else:
            takes[name] = measured(lambda until, start=start: start(bench, until, template))
    return rows(bench.in_turn(takes), count, len(template), missing)


def measure(server: FanOut, count: int, seconds: float) -> Sample:
    with Viewers(server.door, load_core()) as viewers:
        viewers.join(FIRST)
        server.send(1.0)
        time.sleep(SETTLE)
        before = pss(*server.roots)
        viewers.join(count)
        time.sleep(SETTLE)
        memory = (pss(*server.roots) - before) / KIB / count
        viewers.clear()
        meter = Meter(*server.roots)
        server.send(max(seconds, 3.0))
        drain(viewers)
        cpu, seen = meter.seconds(), viewers.report()
    if seen.lost:
        raise RuntimeError(f"{server.name} lost {seen.lost} of its viewers")
    return Sample(seen.tallies / cpu, memory)


def drain(viewers: Viewers, seconds: float = 10, ballots: int = 0) -> None:
    """Wait until all viewers have the same tally with at least `ballots`, or until the time is over."""
    deadline = time.monotonic() + seconds
    before = (-1, -1)
    while time.monotonic() < deadline:
        time.sleep(0.25)
        levels = viewers.levels()
        if levels[0] == levels[1] and levels == before and levels[0] >= ballots:
            return
        before = levels


def rows(taken: dict[str, list[Sample]], count: int, size: int, missing: list[str]) -> list[Row]:
    deliveries = {name: [sample.deliveries for sample in samples] for name, samples in taken.items()}
    memory = {name: [sample.memory for sample in samples] for name, samples in taken.items()}
    ours, ours_memory = deliveries.pop("landslide"), memory.pop("landslide")
    sse = deliveries.get(SSE, [])
    note = (
        f"{count:,} viewers, {size} bytes a tally, {TALLIES_A_SECOND} tallies a second"
        f" (stock: {STOCK_TALLIES_A_SECOND}). Landslide reads its tallies from the database while ballots are"
        " counted. The other servers send bytes that they are given."
    )
    return [
        Row(
            f"{NAME}.deliveries",
            "Deliveries per CPU-second of the serving process",
            "deliveries/CPU-s",
            ours,
            deliveries,
            [Goal("stock", least=20), Goal("nchan", least=1), Goal("ws", least=1.3)],
            note=" ".join([note, *missing]),
        ),
        Row(
            f"{NAME}.sse",
            "Deliveries per CPU-second over server-sent events",
            "deliveries/CPU-s",
            sse,
            {"WebSocket": ours},
            [Goal("WebSocket", least=0.9)],
        ),
        Row(
            f"{NAME}.memory",
            "Memory of the serving process per idle viewer (PSS)",
            "KiB",
            ours_memory,
            memory,
            [Goal(most=10), Goal("stock", most=0.25)],
            higher_is_better=False,
            note="Measured in a newly started process, without the kernel's buffers.",
        ),
    ]
