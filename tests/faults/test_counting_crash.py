"""Kill a worker at each step of counting: no ballot is lost or counted twice.

The processes and SIGKILL are real. The tests run with Redis and PostgreSQL, and again with SQLite alone.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PostgreSQL, Redis, dying_with_us, started
from tests.system import ROOT, bare_environment

pytestmark = pytest.mark.faults

COUNTING = [
    *("before_the_batch", "after_the_ledger", "after_the_tally"),
    *("before_the_commit", "before_the_news"),
]


class Process:
    """A running tests.faults.counting_process, which reports in JSON lines."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.counting_process"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=dying_with_us(9),
        )

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):  # other lines are log output
                words: dict[str, Any] = json.loads(line)
                return words
        raise AssertionError(f"the process ended with {self.process.wait()}")

    def say(self, order: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()

    def tell(self, order: str) -> None:
        self.say(order)
        assert self.hear() == {"done": order}

    def count_and_die(self, step: str, times: int = 1) -> None:
        """Let another process count, and kill it at `step`."""
        self.say(f"die {step} {times}")
        victim = self.hear()
        assert victim["counting"] == step
        try:
            assert self.hear() == {"reached": step}
        finally:
            os.kill(victim["pid"], signal.SIGKILL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def environment_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    environment = bare_environment(
        folder, DATA_DIR=str(folder / "data"), DJANGO_SETTINGS_MODULE="config.settings", COUNT_BATCH="4"
    )
    if kind == "sqlite":
        yield environment
        return
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    name, redis = f"crash_{secrets.token_hex(4)}", Redis()
    with started(redis):
        yield environment | {"DATABASE_URL": postgresql.create_database(name), "REDIS_URL": redis.url()}
    postgresql.drop_database(name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    yield from environment_of(request.param, tmp_path_factory.mktemp("crash"), request)


@pytest.fixture(scope="module")
def keeper(environment: dict[str, str]) -> Iterator[Process]:
    keeper = Process(environment)
    try:
        assert keeper.hear() == {"done": "start"}
        yield keeper
    finally:
        keeper.kill()


@pytest.mark.parametrize("step", COUNTING)
def test_no_ballot_is_lost_or_doubled_when_a_worker_is_killed_while_counting(
    keeper: Process, step: str
) -> None:
    keeper.tell("cast")
    keeper.count_and_die(step, times=2)  # after one full batch, with more batches waiting
    keeper.tell("cast")
    keeper.tell("check")


def test_no_ballot_is_lost_or_doubled_when_a_worker_is_killed_after_trimming(keeper: Process) -> None:
    for _ in range(2):  # counted entries are noted first, and trimmed after the minute
        keeper.tell("cast")
        keeper.tell("check")
        keeper.tell("wait_a_minute")
    keeper.tell("cast")
    keeper.count_and_die("after_trimming")
    keeper.tell("wait_a_minute")
    keeper.tell("check")


def test_the_poll_still_closes_when_a_worker_is_killed_while_closing_it(keeper: Process) -> None:
    keeper.tell("open")
    keeper.tell("cast")
    keeper.tell("close")
    keeper.count_and_die("within_closing")
    keeper.tell("check_closed")
    keeper.tell("open")
