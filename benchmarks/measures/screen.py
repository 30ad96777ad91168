"""Latency of a ballot until another browser shows it, on an idle system. Runs latency.py as a measure."""

from __future__ import annotations

from benchmarks import latency
from benchmarks.measure import Bench
from benchmarks.result import Goal, Row
from tests.browser import chromium

NAME = "screen"
TITLE = "From a click to another browser's screen"
BALLOTS, QUICK_BALLOTS = 25, 8


def run(bench: Bench) -> list[Row]:
    ballots = QUICK_BALLOTS if bench.quick else BALLOTS
    rows = []
    with chromium(bench.home) as browser:
        for mode, goal in latency.GOALS.items():
            system = bench.landslide(mode=mode)
            times = latency.measure(system, browser, ballots, bench.console)
            system.stop()
            if times.lost:
                raise AssertionError(f"{times.lost} ballots were not seen in {mode} mode")
            rows.append(row(mode, goal, times))
    return rows


def row(mode: str, goal: int, times: latency.Times) -> Row:
    parts = {"answered": times.answered, "WebSocket frame": times.framed, "p90 on the screen": times.shown}
    figures = {
        name: latency.percentile(values, 90 if name.startswith("p90") else 50)
        for name, values in parts.items()
    }
    note = (
        "Ballot by ballot on an idle system. "
        + ", ".join(f"{k} {v:.0f}" for k, v in figures.items())
        + " ms."
    )
    title = f"From a click to another browser's screen, {mode} mode"
    return Row(
        f"{NAME}.{mode}", title, "ms", times.shown, {}, [Goal(most=goal)], higher_is_better=False, note=note
    )
