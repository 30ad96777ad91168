"""The cost of an unchanged tally: 304 answers per CPU-second, compared with a plain DRF GET."""

from __future__ import annotations

from functools import partial

import httpx

from benchmarks.load import Load, Plan
from benchmarks.load.source import get
from benchmarks.measure import Bench
from benchmarks.processes import Meter
from benchmarks.result import Goal, Row
from benchmarks.targets import OurSystem, Stock
from benchmarks.targets.base import Target, sound

NAME = "tally304"
TITLE = "A tally that has not changed"
CONNECTIONS = 64


def run(bench: Bench) -> list[Row]:
    ours = OurSystem(bench, web=1, worker=1)
    by_uvicorn, by_daphne = Stock(bench, server="uvicorn"), Stock(bench)
    stock_poll = get("/api/polls/1/")
    plans: dict[str, tuple[Target, Plan]] = {
        "landslide": (ours, Plan(ours.port, unchanged(ours), accepted=304)),
        "a DRF GET": (by_uvicorn, Plan(by_uvicorn.port, stock_poll, accepted=200)),
        "stock": (by_daphne, Plan(by_daphne.port, stock_poll, accepted=200)),
    }
    for target, plan in plans.values():
        target.keep_web_apart()
        take(target, plan, 0.5)
    taken = bench.in_turn({who: partial(take, *each, bench.seconds) for who, each in plans.items()})
    note = (
        "`a DRF GET` reads the stock project's poll with its choices, by a RetrieveAPIView with a"
        " ModelSerializer, on uvicorn like Landslide. `stock` is the same on Daphne."
    )
    title = "Unchanged tallies (304) per CPU-second of the web process"
    ours_taken = taken.pop("landslide")
    return [Row(NAME, title, "answers/CPU-s", ours_taken, taken, [Goal("a DRF GET", least=10)], note=note)]


def unchanged(target: OurSystem) -> str:
    """Make a request of a client that has the current tally."""
    path = f"/api/v1/polls/{target.code}/tally/"
    etag = httpx.get(f"{target.system.url}{path}").raise_for_status().headers["ETag"]
    return get(path, f"If-None-Match: {etag}\r\n")


def take(target: Target, plan: Plan, seconds: float) -> float:
    plan.seconds, plan.connections = seconds, CONNECTIONS
    load, web = Load(plan), Meter(*target.web)
    load.go()
    return sound(load.wait()).accepted / web.seconds()
