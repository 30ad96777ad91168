"""Landslide itself, through its public HTTP contract (docs/api.md)."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import httpx

from benchmarks.load.source import post
from benchmarks.measure import Bench
from benchmarks.processes import pid_of
from benchmarks.targets.base import Target
from tests.servers import wait_for
from tests.system import ROOT

LABELS = ["Aurora", "Basalt", "Cirrus", "Delta", "Ember"]


class OurSystem(Target):
    name = "landslide"

    def __init__(self, bench: Bench, **options: Any) -> None:
        super().__init__(bench.home)
        self.bench = bench
        self.system = bench.landslide(prepare=True, **options)
        self.port = self.system.port
        self.key = self._make_key()
        self.code = ""
        self.new_poll()

    def _make_key(self) -> str:
        scopes = ("--scope", "polls:write", "ballots:write")
        return self.system.run_manage("create_api_key", "bench", *scopes).stdout.split()[-1]

    @property
    def api(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.system.url}/api/v1", headers={"Authorization": f"Api-Key {self.key}"}, timeout=30
        )

    def new_poll(self) -> str:
        """Open another poll for the next loads."""
        with self.api as api:
            made = api.post("/polls/", json={"question": "Which one?", "choices": LABELS}).raise_for_status()
            self.code = made.json()["code"]
            api.post(f"/polls/{self.code}/open/").raise_for_status()
        path = f"/api/v1/polls/{self.code}/ballots/"
        body = '{"ballot_id":"{ballot_id}","round":1,"selections":[{choice}]}'
        self.template = post(path, body, cookie="voter={cookie}")
        return self.code

    @property
    def web(self) -> list[int]:
        return self.system.children("web")

    @property
    def behind(self) -> list[int]:
        assert self.system.postgresql
        assert self.system.redis
        return [*map(pid_of, (self.system, self.system.postgresql, self.system.redis))]

    def mint(self, count: int) -> None:
        self.run_inside("benchmarks.targets.mint", str(count), str(self.voters))

    @property
    def parts(self) -> dict[str, list[int]]:
        _, postgresql, redis = self.behind
        workers = [*self.system.children("worker"), *self.system.children("beat")]
        return {"web": self.web, "workers": workers, "PostgreSQL": [postgresql], "Redis": [redis]}

    def run_inside(self, module: str, *arguments: str) -> None:
        """Run a module in the system's environment, with its settings and keys."""
        subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=self.system.env, check=True)

    def tally(self) -> dict[str, Any]:
        with self.api as api:
            return api.get(f"/polls/{self.code}/tally/").raise_for_status().json()

    def counted(self) -> int:
        return int(self.tally()["ballots"])

    def wait_until_quiet(self, seconds: float = 120) -> int:
        """Wait until the number of counted ballots stops growing. Return this number."""
        seen = [-1]

        def still() -> bool:
            time.sleep(0.5)
            seen.append(self.counted())
            return seen[-1] == seen[-2]

        wait_for(still, seconds, "all ballots to be counted")
        return seen[-1]

    def wait_until_counted(self, ballots: int, seconds: float = 60) -> None:
        wait_for(lambda: self.counted() >= ballots, seconds, f"{ballots} counted ballots")

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from the system's database, to check the system's answers."""
        assert self.system.postgresql
        with self.system.postgresql.connect(self.system.database) as connection:
            return connection.execute(query, values or None).fetchall()

    def sql_without_rows(self, command: str) -> None:
        assert self.system.postgresql
        with self.system.postgresql.connect(self.system.database) as connection:
            connection.execute(command)
