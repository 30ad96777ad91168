"""The cost of accepting a ballot: ballots per CPU-second, each web process on its own core."""

from __future__ import annotations

from benchmarks.measure import Bench
from benchmarks.processes import Meter
from benchmarks.result import Goal, Row
from benchmarks.targets import Fastify, OurSystem, Stock, Target
from benchmarks.targets.base import sound

NAME = "ingest"
TITLE = "Accepting ballots"
CONNECTIONS = 256  # voters at a time; with fewer voters, every system would form smaller groups


def run(bench: Bench) -> list[Row]:
    targets: list[Target] = [OurSystem(bench, web=1, worker=1), Stock(bench), Fastify(bench)]
    for target in targets:
        target.keep_web_apart()
        target.warm_up()
    taken = bench.in_turn({target.name: lambda target=target: take(bench, target) for target in targets})
    return [
        row("web", "Accepted ballots per CPU-second of the web process", taken, 0, strict=True),
        row(
            "with-stores",
            "Accepted ballots per CPU-second, stores and workers included",
            taken,
            1,
            strict=False,
        ),
    ]


def take(bench: Bench, target: Target) -> tuple[float, float, float]:
    """Return ballots per CPU-second of the web process and of everything, and ballots a second."""
    load = target.load(seconds=bench.seconds, connections=CONNECTIONS)
    web, everything = Meter(*target.web), Meter(*target.web, *target.behind)
    load.go()
    report = sound(target.used(load.wait()))
    return (
        report.accepted / web.seconds(),
        report.accepted / everything.seconds(),
        report.goodput,
    )


def row(name: str, title: str, taken: dict[str, list[tuple[float, ...]]], part: int, *, strict: bool) -> Row:
    figures = {who: [sample[part] for sample in samples] for who, samples in taken.items()}
    goals = [Goal("stock", least=100), Goal("fastify", least=1)] if strict else []
    pace = ", ".join(
        f"{who} {sorted(s[2] for s in all_)[len(all_) // 2]:,.0f}" for who, all_ in taken.items()
    )
    note = f"With appendfsync always and {CONNECTIONS} connections. Ballots a second: {pace}." + (
        ""
        if strict
        else " Unlike fastify, landslide and stock also count the ballots and accept only one per voter."
    )
    return Row(f"{NAME}.{name}", title, "ballots/CPU-s", figures.pop("landslide"), figures, goals, note=note)
