"""Latency of a ballot on an idle system, until another browser shows it.

The whole system runs as real processes: first in full mode with its own PostgreSQL and Redis, then in
embedded mode. One Chromium page votes, as a new voter each time, and another shows the presenter's screen.
All processes use this machine's clock, so the times of both pages and of this process can be compared.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as NotSeen
from rich.console import Console
from rich.progress import track
from rich.table import Table
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.browser import chromium
from tests.servers import PostgreSQL, ServerFailed, started
from tests.system import Landslide

POLL = "DEMO"
GOALS = {"full": 150, "embedded": 300}  # ms, median
WARM_UP = 3  # these first ballots find empty caches and no open connections, and are left out
SEEN_WITHIN_MS = 10_000
#: Seconds from a ballot until this process looks at the presenter's page. Polling the page earlier would keep
#: it busy while it should draw. The pause is random, so that samples aren't synchronous with a timer of the
#: system.
PAUSE = (0.4, 0.9)

#: A script for the voter's page: a new voter, who has already opened the page, casts a ballot.
CAST = """async ([poll, number]) => {
  const api = `/api/v1/polls/${poll}/`;
  const voter = await (await fetch(`${api}voter/`)).json();
  const body = JSON.stringify({ selections: [number], round: voter.round });
  const started = Date.now();
  const answer = await fetch(`${api}ballots/`, {
    method: "POST", body, headers: { "Content-Type": "application/json" },
  });
  return { status: answer.status, started, answered: Date.now() };
}"""

#: A script for the presenter's page: it records when each number of ballots first appeared.
WATCH = """() => {
  const node = document.querySelector("#ballots b");
  window.seen = {};
  const look = () => { window.seen[node.textContent] ??= Date.now(); };
  new MutationObserver(look).observe(node, { childList: true, characterData: true, subtree: true });
}"""


@dataclass
class Times:
    """The times of each ballot's events, in milliseconds from the start of its request."""

    answered: list[float] = field(default_factory=list)
    framed: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    lost: int = 0


class Listener:
    """A viewer without a browser. It records when the first frame with each number of ballots arrived."""

    def __init__(self, system: Landslide) -> None:
        self.seen: dict[int, float] = {}
        self._socket: ClientConnection = connect(f"{system.ws_url}/ws/polls/{POLL}/")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for frame in self._socket:
                now = time.time() * 1000
                message = json.loads(frame)
                if message["type"] == "tally":
                    self.seen.setdefault(message["ballots"], now)
        except ConnectionClosed:
            pass

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)


def start(mode: str, server: str, home: Path, until: ExitStack) -> Landslide:
    shared: dict[str, Any] = {"server": server, "collected": home / "collected"}
    if mode == "embedded":
        system = Landslide(mode="embedded", **shared)
    else:
        # The stores are durable, unlike in tests, so the ballot waits for the disk as in production.
        postgresql = PostgreSQL(durable=True)
        until.enter_context(started(postgresql))
        system = Landslide(mode="full", postgresql=postgresql, **shared)
    until.enter_context(started(system))
    return system


def measure(system: Landslide, browser: Browser, ballots: int, console: Console) -> Times:
    times = Times()
    watching, voting = browser.new_context(viewport={"width": 1280, "height": 720}), browser.new_context()
    screen, booth = watching.new_page(), voting.new_page()
    screen.goto(f"{system.url}/p/{POLL}/present/")
    screen.wait_for_function('document.querySelector("#ballots b").textContent === "0"')
    screen.evaluate(WATCH)
    booth.goto(
        f"{system.url}/healthz"
    )  # this can be any page of the same origin, since only the browser's request is measured
    listener = Listener(system)
    try:
        for number in track(range(1, WARM_UP + ballots + 1), f"{system.mode:<8}", console=console):
            voting.clear_cookies()
            cast = booth.evaluate(CAST, [POLL, random.randint(1, 5)])
            if cast["status"] != 202:
                raise SystemExit(f"A ballot was refused with status {cast['status']}.")
            time.sleep(random.uniform(*PAUSE))
            note(times, screen, listener, number, cast)
    finally:
        listener.close()
        watching.close()
        voting.close()
    return times


def note(times: Times, screen: Page, listener: Listener, number: int, cast: dict[str, Any]) -> None:
    try:
        screen.wait_for_function("number => window.seen[number]", arg=str(number), timeout=SEEN_WITHIN_MS)
    except NotSeen:
        times.lost += 1
        return
    if number <= WARM_UP:
        return
    shown = screen.evaluate("number => window.seen[number]", str(number))
    times.answered.append(cast["answered"] - cast["started"])
    times.shown.append(shown - cast["started"])
    if number in listener.seen:
        times.framed.append(listener.seen[number] - cast["started"])


def percentile(values: list[float], part: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1] if len(values) > 1 else values[0]


def table_of(results: dict[str, Times]) -> Table:
    table = Table(
        title="From the start of a ballot's request, in ms, on an idle system", title_justify="left"
    )
    for column in ("mode", "until", "median", "p90", "goal"):
        table.add_column(column, justify="right" if column in ("median", "p90", "goal") else "left")
    for mode, times in results.items():
        rows = {"acknowledged": times.answered, "WebSocket frame": times.framed, "on the screen": times.shown}
        for until, values in rows.items():
            figures = [f"{percentile(values, part):.0f}" if values else "–" for part in (50, 90)]
            goal = str(GOALS[mode]) if values is times.shown else ""
            table.add_row(mode, until, *figures, goal, end_section=values is times.shown)
    return table


def verdict(mode: str, times: Times) -> str:
    within = bool(times.shown) and percentile(times.shown, 50) <= GOALS[mode] and not times.lost
    lost = f", and {times.lost} ballots were not seen at all" if times.lost else ""
    return f"{mode}: {'within' if within else 'NOT within'} its goal of {GOALS[mode]} ms{lost}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--ballots", type=int, default=30, help="in each mode (%(default)s)")
    parser.add_argument("--mode", choices=GOALS, action="append", help="only this one")
    parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")
    options = parser.parse_args()
    console = Console()
    results = {}
    with tempfile.TemporaryDirectory(prefix="landslide-bench-") as home, chromium(Path(home)) as browser:
        for mode in options.mode or GOALS:
            with ExitStack() as until:
                with console.status(f"Starting Landslide in {mode} mode"):
                    system = start(mode, options.server, Path(home), until)
                results[mode] = measure(system, browser, options.ballots, console)
    console.print(table_of(results))
    for mode, times in results.items():
        console.print(verdict(mode, times))


if __name__ == "__main__":
    try:
        main()
    except ServerFailed as failure:
        raise SystemExit(str(failure)) from None
