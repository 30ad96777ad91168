"""Run all of Landslide's processes by `manage.py serve`, as in production."""

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rest_framework_api_key.crypto import KeyGenerator

from tests.servers import PATIENCE, PostgreSQL, Redis, Server, tail

ROOT = Path(__file__).resolve().parent.parent
READY = "Landslide is ready at"

Role = Literal["web", "worker", "beat"]
#: All scopes of an API client.
SCOPES = ("polls:read", "polls:write", "ballots:write", "metrics:read")


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str

    @property
    def role(self) -> Role | None:
        if "celery" in self.command:
            return "beat" if " beat" in self.command else "worker"
        if "config.serving.web" in self.command:
            return "web"
        return None


def processes() -> list[Process]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has just ended
        state, parent = status.rpartition(")")[2].split()[:2]  # the name before ")" may contain spaces
        if state != "Z":
            found.append(Process(int(folder.name), int(parent), command))
    return found


def bare_environment(home: Path, **settings: str) -> dict[str, str]:
    """Return a minimal environment plus `settings`. No other variables of the user are in it."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG", "LC_ALL") if name in os.environ}
    return {"HOME": str(home), "PYTHONUNBUFFERED": "1", **kept, **settings}


class Landslide(Server):
    """One system with its own data folder and database. `prepare` migrates and makes the demo polls.

    It keeps its port and data when it is stopped, killed and started again. In full mode it starts its own
    Redis, which a test may kill. The server `postgresql` may be shared with other systems.
    """

    name = "system"

    def __init__(
        self,
        *,
        mode: Literal["embedded", "full"] = "embedded",
        server: Literal["uvicorn", "daphne"] = "uvicorn",
        web: int = 2,
        worker: int = 2,
        prepare: bool = True,
        postgresql: PostgreSQL | None = None,
        redis: Redis | None = None,
        env: dict[str, str] | None = None,
        collected: Path | None = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.collected = collected
        self.cwd = ROOT
        self.admin_password = secrets.token_urlsafe(12)
        self.env = bare_environment(
            self.folder,
            DATA_DIR=str(self.folder / "data"),
            HOST="127.0.0.1",
            PORT=str(self.port),
            ADMIN_PASSWORD=self.admin_password,
        )
        self.arguments = ["--server", server]
        self.postgresql, self.redis = postgresql, redis
        self._own_redis = mode == "full" and redis is None
        if mode == "full":
            self._use_servers(web, worker)
        if prepare:
            self.arguments.append("--prepare")
        self.env.update(env or {})
        self.environment = self.env
        self._log_start = 0

    def _use_servers(self, web: int, worker: int) -> None:
        assert self.postgresql, "full mode needs a PostgreSQL"
        self.redis = self.redis or Redis()
        self.database = f"landslide_{secrets.token_hex(6)}"
        self.env["DATABASE_URL"] = self.postgresql.url(self.database)
        self.env["REDIS_URL"] = self.redis.url()
        self.arguments += ["--web", str(web), "--worker", str(worker)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "serve", *self.arguments]

    def answers(self) -> bool:
        return READY in self.output()

    def output(self) -> str:
        """Return the output since the latest start."""
        with self.log.open(errors="replace") as log:
            log.seek(self._log_start)
            return log.read()

    def start(self) -> None:
        if self.mode == "full":
            assert self.postgresql and self.redis
            self.redis.start()
            if not self.log.exists():
                self.postgresql.create_database(self.database)
        if not self.log.exists():
            self._borrow_static_files()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        super().start()
        self._lend_static_files()

    # Collecting and compressing static files takes seconds, so a test run does it only once.

    def _borrow_static_files(self) -> None:
        if self.collected and self.collected.exists():
            shutil.copytree(self.collected, self.folder / "data" / "static", copy_function=os.link)

    def _lend_static_files(self) -> None:
        made = self.folder / "data" / "static"
        if self.collected and not self.collected.exists() and made.exists():
            shutil.copytree(made, self.collected, copy_function=os.link)

    def remove(self) -> None:
        self.stop()
        if self._own_redis and self.redis:
            self.redis.remove()
        if self.mode == "full" and self.postgresql and self.postgresql.running:
            self.postgresql.drop_database(self.database)
        super().remove()

    def run_manage(
        self, *arguments: str, check: bool = True, timeout: float = 2 * PATIENCE, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py …` with the system's environment. If it fails, raise an error with its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(f"manage.py {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done

    @cached_property
    def api_key(self) -> str:
        """The key of an API client with every scope. Running `create_api_key` would take two seconds."""
        key, prefix, hashed = KeyGenerator().generate()
        row = {
            "id": prefix,
            "prefix": prefix,
            "hashed_key": hashed,
            "created": datetime.now(UTC).isoformat(" "),
            "name": "tests",
            "revoked": False,
            "scopes": json.dumps(SCOPES),
        }
        self.query(
            f"INSERT INTO polls_apiclient ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
            *row.values(),
        )
        return key

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the database directly and commit it, without any code of the product."""
        if self.mode == "full":
            assert self.postgresql
            with self.postgresql.connect(self.database) as connection:
                done = connection.execute(statement, values)
                return done.fetchall() if done.description else []
        file = self.folder / "data" / "landslide.sqlite3"
        with contextlib.closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            return connection.execute(statement.replace("%s", "?"), values).fetchall()

    def family(self) -> list[Process]:
        """Return all running descendants of the supervisor's process."""
        assert self.process
        alive, known = processes(), {self.process.pid}
        while grown := {each.pid for each in alive if each.parent in known} - known:
            known |= grown
        return [each for each in alive if each.pid in known - {self.process.pid}]

    def children(self, role: Role | None = None) -> list[int]:
        """Return the pids of the supervisor's children: all of them, or those with this role."""
        assert self.process
        own = [each for each in self.family() if each.parent == self.process.pid]
        return [each.pid for each in own if role in (None, each.role)]

    def report(self) -> str:
        text = f"$ {' '.join(self.command())}\n{tail(self.log)}"
        if self._own_redis and self.redis:
            text += f"\n$ redis\n{tail(self.redis.log, 15)}"
        return text
