"""The stock stack (benchmarks/peers/stock): Daphne, one Celery worker, a PostgreSQL and a Redis."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.load.source import post
from benchmarks.measure import Bench
from benchmarks.processes import Program, logged, pid_of
from benchmarks.targets.base import Target
from tests.servers import Redis, started

FOLDER = Path(__file__).resolve().parent.parent / "peers" / "stock"
CHOICES = 5
SERVERS = {
    "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "--access-log", "/dev/null"],
    "uvicorn": ["-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "warning"],
}


class Stock(Target):
    name = "stock"
    accepted = 201
    fastest = 1_500

    def __init__(
        self,
        bench: Bench,
        *,
        server: str = "daphne",
        polls: int = 1,
        workers: int = 2,
        settings: str = "",
        templates: str = "",
    ) -> None:
        super().__init__(bench.home)
        self.postgresql = bench.postgresql
        self.redis = Redis(appendonly="no")  # a typical broker's Redis, which holds no votes
        bench.until.enter_context(started(self.redis))
        self.database = f"stock_{secrets.token_hex(4)}"
        self.postgresql.create_database(self.database)
        self.env = {
            "SECRET_KEY": secrets.token_urlsafe(40),
            "DJANGO_SETTINGS_MODULE": settings or "project.settings",
            "DATABASE_PORT": str(self.postgresql.port),
            "DATABASE_NAME": self.database,
            "REDIS_URL": self.redis.url(),
            "TEMPLATES": templates,
        }
        self.run_manage("set_up", "--polls", str(polls), "--choices", str(CHOICES))
        self.server = self._program(server, [*SERVERS[server], "project.asgi:application"])
        celery = [
            "-m",
            "celery",
            "-A",
            "project",
            "worker",
            "--concurrency",
            str(workers),
            "--loglevel",
            "INFO",
        ]
        self.worker = self._program("celery", celery, ready=logged(" ready."))
        bench.until.enter_context(started(self.server, self.worker))
        self.port = self.server.port
        self.template = post("/api/polls/1/votes/", '{"choice":{choice}}', cookie="voter={cookie}")

    def _program(self, name: str, arguments: list[str], **options: Any) -> Program:
        return Program(name, [sys.executable, *arguments], env=self.env, cwd=FOLDER, **options)

    def run_manage(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command,
            cwd=FOLDER,
            env=Program("env", [], env=self.env).environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"stock: manage.py {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/polls/1/"

    @property
    def web(self) -> list[int]:
        return [self.server.pid]

    @property
    def behind(self) -> list[int]:
        return [self.worker.pid, pid_of(self.postgresql), pid_of(self.redis)]

    @property
    def parts(self) -> dict[str, list[int]]:
        workers, postgresql, redis = ([pid] for pid in self.behind)
        return {"web": self.web, "workers": workers, "PostgreSQL": postgresql, "Redis": redis}

    def mint(self, count: int) -> None:
        more = self.voters.with_suffix(".more")
        self.run_manage("set_up", "--voters", str(count), "--file", str(more))
        with self.voters.open("a") as file:
            file.write(more.read_text())

    def counted(self) -> int:
        with self.postgresql.connect(self.database) as connection:
            row = connection.execute("SELECT count(*) FROM votes_vote WHERE poll_id = 1").fetchone()
        return int(row[0]) if row else 0

    def backlog(self) -> int:
        """Return the number of votes whose recount hasn't started."""
        with self.redis.client() as client:
            return int(client.llen("celery"))
