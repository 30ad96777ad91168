"""Each line of the Procfile as a platform runs it, with stores named in the environment."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests import fetch
from tests.e2e.clients import http_client, new_voter
from tests.servers import PostgreSQL, Redis, Server, free_port, wait_for
from tests.system import ROOT, SCOPES, bare_environment

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LINES = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if not line.startswith("#")
)


class Service(Server):
    """One line of the Procfile, run by a shell."""

    def __init__(self, line: str, environment: dict[str, str]) -> None:
        super().__init__(int(environment["PORT"]))
        self.line = line
        self.cwd = ROOT
        self.environment = environment

    def command(self) -> list[str]:
        return ["sh", "-c", self.line]

    def answers(self) -> bool:
        """Whether a web process answers. Workers and beat can't, so the test waits for their effects."""
        try:
            return "serve" not in self.line or fetch.get(f"http://127.0.0.1:{self.port}/healthz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def environment(
    tmp_path: Path, postgresql: PostgreSQL, start_redis: Callable[..., Redis]
) -> Iterator[dict[str, str]]:
    database = f"landslide_{secrets.token_hex(6)}"
    yield bare_environment(
        tmp_path,
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        DATA_DIR=str(tmp_path / "data"),
        DATABASE_URL=postgresql.create_database(database),
        REDIS_URL=start_redis().url(),
        SECRET_KEY=secrets.token_hex(20),
        ALLOWED_HOSTS="127.0.0.1",
        HOST="127.0.0.1",
        PORT=str(free_port()),
    )
    postgresql.drop_database(database)


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[[str], Service]]:
    made: list[Service] = []

    def run(name: str) -> Service:
        made.append(Service(LINES[name], environment))
        made[-1].start()
        return made[-1]

    yield run
    for service in reversed(made):
        service.remove()


def test_each_line_of_the_procfile_works(
    environment: dict[str, str], start: Callable[[str], Service]
) -> None:
    assert set(LINES) == {"release", "web", "worker", "beat"}
    run(LINES["release"], environment)
    key = run(f"python manage.py create_api_key tests --scope {' '.join(SCOPES)}", environment).split()[-1]
    web = start("web")
    api = http_client(base_url=f"http://127.0.0.1:{web.port}", headers={"Authorization": f"Api-Key {key}"})

    def state(code: str) -> str:
        return str(api.get(f"/api/v1/polls/{code}/").json()["state"])

    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    polls = [
        api.post("/api/v1/polls/", json={"question": "?", "choices": ["A", "B"], "opens_at": opens_at}).json()
        for opens_at in (None, soon)
    ]
    by_hand, by_itself = (poll["code"] for poll in polls)
    assert api.post(f"/api/v1/polls/{by_hand}/open/").status_code == 200
    voter = new_voter(str(api.base_url), by_hand)
    cast = voter.post(f"/api/v1/polls/{by_hand}/ballots/", json={"selections": [2]})
    assert cast.status_code == 202

    services = [start("worker")]
    wait_for(lambda: ballots(api, by_hand) == 1, what="the worker to count")
    assert state(by_itself) == "draft", "a process other than beat opened the poll"
    services.append(start("beat"))
    wait_for(lambda: state(by_itself) == "open", what="beat to open a poll")
    for service in [*services, web]:
        assert service.running, service.log.read_text()
        service.stop()
        assert "Traceback" not in service.log.read_text()


def run(line: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ballots(api: httpx.Client, code: str) -> int:
    return int(api.get(f"/api/v1/polls/{code}/tally/").json()["ballots"])
