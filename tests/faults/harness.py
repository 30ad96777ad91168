"""A test harness for faults: a system with its own stores, and failpoints in its processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from tests import fetch
from tests.faults.failpoints import COOKIES, FOLDER, Failpoints
from tests.servers import PATIENCE, PostgreSQL, Redis, wait_for
from tests.system import ROOT, Landslide, Role

#: Shorter times than in production, so that a run takes less time.
CONSTANTS: dict[str, dict[str, float]] = {
    "config.serving.supervisor": {"STABLE_SECONDS": 1.0},  # a process that dies often is restarted at once
    "analytics.counting.trimming": {"KEEP_COUNTED": 1.0},  # the log is trimmed while ballots arrive
}
#: After this time PostgreSQL ends the transaction of a stopped worker. In production it is 20 s.
IDLE_SECONDS = 3
STATEMENT_SECONDS = 10
OPTIONS = quote(
    f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout=5s"
    f" -c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
)
#: The channel layer has a Redis database of its own, so that a test can flush only that.
CHANNELS = 1


def head_of(partition: int) -> str:
    """Return the Redis key of the partition's head, which says how far the log is written."""
    return f"landslide:{{{partition}}}:head"


class Harness:
    """A system in full mode with its own PostgreSQL and Redis.

    `roles` sets environment variables for the processes of one role only, such as the address of a store's
    proxy: {"web": {"VOTE_LOG_REDIS_URL": …}}. `constants` replaces constants of the product's modules.
    """

    def __init__(
        self,
        *,
        web: int = 2,
        worker: int = 2,
        cookies: int = 2_000,
        postgresql: PostgreSQL | None = None,
        redis: Redis | None = None,
        env: Mapping[str, str] | None = None,
        roles: Mapping[Role, Mapping[str, str]] | None = None,
        constants: Mapping[str, Mapping[str, float]] | None = None,
        collected: Path | None = None,
    ) -> None:
        self.postgresql, self.redis = postgresql or PostgreSQL(), redis or Redis()
        self._workers, self._webs = worker, web
        self.system = Landslide(
            mode="full",
            web=web,
            worker=worker,
            postgresql=self.postgresql,
            redis=self.redis,
            collected=collected,
        )
        folder = self.system.folder / "failpoints"
        folder.mkdir()
        self.failpoints = Failpoints(folder)
        environment = self.system.env
        environment["DATABASE_URL"] += f"?options={OPTIONS}"
        environment["PYTHONPATH"] = f"{ROOT / 'tests' / 'faults' / 'inside'}{os.pathsep}{ROOT}"
        environment["DATABASE_STATEMENT_SECONDS"] = str(STATEMENT_SECONDS)
        environment[FOLDER] = str(folder)
        environment[COOKIES] = str(cookies)
        environment["CHANNEL_REDIS_URL"] = self.redis.url(CHANNELS)
        environment["FAULTS_CONSTANTS"] = json.dumps(CONSTANTS | dict(constants or {}))
        for role, settings in (roles or {}).items():
            environment[f"FAULTS_ENV_{role.upper()}"] = json.dumps(dict(settings))
        environment.update(env or {})

    def start(self) -> None:
        self.postgresql.start()
        self.redis.start()
        self.system.start()
        self.key, self.cookies = self.failpoints.voters()
        self.http = fetch.Client(base_url=self.system.url, headers={"Authorization": f"Api-Key {self.key}"})

    def remove(self) -> None:
        with contextlib.suppress(AttributeError):
            self.http.close()
        self.system.remove()
        self.redis.remove()
        self.postgresql.remove()

    def __enter__(self) -> Harness:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()

    # --- polls ---

    def make_poll(self, choices: int, **fields: Any) -> str:
        body = {
            "question": "Which act wins?",
            "method": "single",
            "revote": True,
            "choices": [f"Act {n}" for n in range(1, choices + 1)],
        }
        answer = self.http.post("/api/v1/polls/", json=body | fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["code"])

    def step(self, code: str, step: str) -> Any:
        """Open or close the poll. Repeat the request while a store or a process is restarting."""
        answer, said = None, ""

        def done() -> bool:
            nonlocal answer, said
            try:
                answer = self.http.post(f"/api/v1/polls/{code}/{step}/")
            except httpx.TransportError as error:
                said = repr(error)
                return False
            said = answer.text
            return answer.status_code in (200, 409)

        try:
            wait_for(done)
        except TimeoutError:
            raise TimeoutError(f"{step} of {code}: {said}") from None
        return answer.json()

    def connect(self) -> psycopg.Connection[Any]:
        return self.postgresql.connect(self.system.database)

    # --- faults ---

    def kill_at(self, step: str, patience: float = PATIENCE) -> int:
        """Kill the next process that reaches `step`, and wait for its replacement. Return the killed pid."""
        return self.act_at(step, "kill", patience)

    def stop_at(self, step: str, patience: float = PATIENCE) -> int:
        """Stop the next process that reaches `step`. Return its pid, for `thaw`."""
        return self.act_at(step, "stop", patience)

    def act_at(self, step: str, act: Any, patience: float) -> int:
        self.failpoints.arm(step, act)
        try:
            wait_for(lambda: self.failpoints.hit_by(step) is not None, patience, f"a process at {step}")
        finally:
            self.failpoints.disarm(step)
        pid = self.failpoints.hit_by(step)
        assert pid
        if act == "kill":
            self.wait_whole()
        return pid

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def skip_what_is_gone(self) -> None:
        """Set the checkpoints to the log's heads, past entries that a broken build lost.

        Later rows can then use this system.
        """
        with self.connect() as database, self.redis.client() as redis:
            for partition in (
                row[0] for row in database.execute("SELECT partition FROM analytics_checkpoint")
            ):
                database.execute(
                    "UPDATE analytics_checkpoint SET position = %s WHERE partition = %s",
                    (int(redis.hget(head_of(partition), "position")), partition),  # type: ignore[arg-type]
                )

    def freeze(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    def thaw(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def pids(self, role: Role) -> list[int]:
        return self.system.children(role)

    def wait_whole(self) -> None:
        """Wait until the supervisor has restarted all its processes."""
        whole = {"web": self._webs, "worker": self._workers, "beat": 1}
        wait_for(
            lambda: all(len(self.pids(role)) == count for role, count in whole.items()),  # type: ignore[arg-type]
            what="all processes",
        )
