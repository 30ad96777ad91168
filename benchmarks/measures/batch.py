"""The gain from batches: ballots per CPU-second of the web process, in batches and as single ballots."""

from __future__ import annotations

import itertools
import json
import uuid
from pathlib import Path

from benchmarks.load import Load, Plan, Report
from benchmarks.load.source import post, write_requests
from benchmarks.measure import Bench
from benchmarks.processes import Meter
from benchmarks.result import Goal, Row
from benchmarks.targets import OurSystem
from benchmarks.targets.base import sound

NAME = "batch"
TITLE = "The batch endpoint against the single one"
SIZE = 1_000
CONNECTIONS = 2  # a client that sends batches waits for each answer
FASTEST = 80_000  # ballots made for each second, more than Landslide can accept

Sample = tuple[float, float]  # ballots per CPU-second of the web process, and of everything


def run(bench: Bench) -> list[Row]:
    target = OurSystem(bench, web=1, worker=1)
    target.keep_web_apart()
    target.warm_up()
    batches = Batches(target, bench.home)
    batches.offer(0.5)
    taken = bench.in_turn(
        {
            "batch": lambda: measured(target, batches.load(bench.seconds)),
            "single": lambda: single(target, bench.seconds),
        }
    )
    note = f"An API client sends batches of {SIZE:,}, {CONNECTIONS} at a time. Browsers send single ballots."
    titles = (
        "Ballots per CPU-second of the web process, in batches",
        "Ballots per CPU-second, stores and worker included, in batches",
    )
    rows = []
    for part, (name, title) in enumerate(zip(("web", "with-stores"), titles, strict=True)):
        batch, one = ([sample[part] for sample in taken[which]] for which in ("batch", "single"))
        goals = [Goal("single ballots", least=5)] if name == "web" else []
        rows.append(
            Row(
                f"{NAME}.{name}",
                title,
                "ballots/CPU-s",
                batch,
                {"single ballots": one},
                goals,
                note=note,
                against_itself=True,
            )
        )
    return rows


def single(target: OurSystem, seconds: float) -> Sample:
    load = target.load(seconds=seconds, connections=64)
    return measured(target, load, after=target.used)


def measured(target: OurSystem, load: Load, after=lambda report: report) -> Sample:
    web, everything = Meter(*target.web), Meter(*target.web, *target.behind)
    load.go()
    report: Report = sound(after(load.wait()))
    return report.units / web.seconds(), report.units / everything.seconds()


class Batches:
    """Make requests in advance. Every ballot in the requests has its own voter and ballot_id."""

    def __init__(self, target: OurSystem, home: Path) -> None:
        self.target, self.home = target, home
        self.voter = itertools.count()

    def load(self, seconds: float) -> Load:
        file = self.home / "batches"
        write_requests(file, (self._request() for _ in range(round(FASTEST * seconds / SIZE))))
        return Load(
            Plan(
                self.target.port, requests=str(file), accepted=200, units='"status":"accepted"',
                connections=CONNECTIONS, seconds=seconds,
            )
        )  # fmt: skip

    def offer(self, seconds: float) -> Report:
        load = self.load(seconds)
        load.go()
        return load.wait()

    def _request(self) -> bytes:
        ballots = [
            {
                "ballot_id": str(uuid.uuid4()),
                "round": 1,
                "selections": [1 + voter % 5],
                "voter": f"seat-{voter}",
            }
            for voter in itertools.islice(self.voter, SIZE)
        ]
        body = json.dumps({"ballots": ballots}, separators=(",", ":"))
        path = f"/api/v1/polls/{self.target.code}/ballots/batch/"
        return post(path, body, headers=f"Authorization: Api-Key {self.target.key}\r\n").encode()
