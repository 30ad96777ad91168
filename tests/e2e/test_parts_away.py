"""A system whose database or worker is away, or that is stopped and started again.

While the database is away, ballots are accepted into the Redis log and counted later. /readyz names the
degraded mode and stays 200 while ballots are accepted. Secrets never appear in logs or error pages.
"""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import fetch
from tests.conftest import landslides
from tests.e2e.clients import Client, assert_all_agree, http_client, ledger, new_voter, some_ballots
from tests.e2e.secrets_in_logs import (
    DATABASE_PASSWORD,
    SECRET_KEY,
    VERBOSE,
    Secrets,
    WithPassword,
    lines_with,
    staff_at_work,
    voters_at_work,
)
from tests.servers import PostgreSQL, wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.faults]

CASTS = 12


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Landslide, Client]]:
    """A system with its own PostgreSQL, which tests may kill or freeze if they restore it."""
    postgresql: Any = WithPassword(PostgreSQL())
    starting = landslides(request)
    try:
        postgresql.start()
        system = next(starting)(mode="full", web=1, worker=1, postgresql=postgresql, env=VERBOSE)
        yield system, Client(system)
    finally:
        starting.close()
        postgresql.remove()


def cast(voter: httpx.Client, code: str) -> httpx.Response:
    """Cast a ballot. If the request hangs, the client's timeout fails the test."""
    body = {"selections": [2], "ballot_id": str(uuid.uuid4())}
    return voter.post(f"/api/v1/polls/{code}/ballots/", json=body)


def ready(client: Client) -> httpx.Response:
    return client.http.get("/readyz")


@pytest.mark.parametrize("away", ["killed", "frozen"])
def test_ballots_are_accepted_while_the_database_is(running: Any, away: str) -> None:
    system, client = running
    code = client.make_poll()
    voters = [new_voter(system.url, code) for _ in range(CASTS + 1)]
    assert cast(voters.pop(), code).status_code == 202  # so that the web process has cached the poll
    postgresql = system.postgresql
    (postgresql.kill if away == "killed" else postgresql.freeze)()
    try:
        answers: list[Any] = [cast(voter, code) for voter in voters]
        degraded = ready(client)
    finally:
        (postgresql.start if away == "killed" else postgresql.thaw)()
    assert {answer.status_code for answer in answers} == {202}
    client.tally_when(code, lambda tally: tally["ballots"] == CASTS + 1)
    assert ledger(system, code)["votes"] == {"2": CASTS + 1}
    assert degraded.status_code == 200, degraded.text
    assert degraded.json()["database"] != "ok"
    assert "database_away" in degraded.json()["modes"]
    wait_for(lambda: ready(client).json()["modes"] == [], what="the degraded mode to end")


def test_ballots_wait_for_a_worker_and_are_then_counted(running: Any) -> None:
    system, client = running
    code = client.make_poll()
    (worker,) = system.children("worker")
    os.kill(worker, signal.SIGSTOP)
    client.cast_batch(code, some_ballots(0, 500))
    assert client.tally(code)["ballots"] == 0
    os.kill(worker, signal.SIGKILL)
    wait_for(
        lambda: worker not in system.children("worker") and bool(system.children("worker")), what="a worker"
    )
    assert_all_agree(system, client, code, 500)


def test_no_accepted_ballot_is_lost_when_the_system_is_stopped_and_started(running: Any) -> None:
    system, client = running
    code = client.make_poll()
    client.cast_batch(code, some_ballots(0, 4_000))
    system.stop()
    assert not system.running
    system.start()
    assert_all_agree(system, client, code, 4_000)


def test_no_secret_is_logged_or_shown_by_an_error(running: Any) -> None:
    """Run this test last: it stops the system and reads the log of all tests in this file."""
    system, client = running
    found = Secrets()
    found.note(secret_key=SECRET_KEY, database_password=DATABASE_PASSWORD)
    key = client.http.headers["Authorization"].split()[-1]
    found.note(api_key=key, api_key_secret=key.partition(".")[2])
    staff = staff_at_work(system, found)
    code = voters_at_work(system, client, staff, found)

    # Errors of a failed store often quote the request or statement, so let Redis fail.
    system.redis.kill()
    somebody = http_client(base_url=system.url, cookies={"voter": "x" * 43})
    answers = [
        client.cast(code, "the-voter-late", [1]),
        somebody.get(f"/api/v1/polls/{code}/voter/"),
        staff.get("/admin/"),
    ]
    system.redis.start()
    wait_for(lambda: fetch.get(f"{system.url}/readyz").status_code == 200, what="readiness")
    pages = ("/nowhere/", "/api/v1/polls/%00/", "/admin/polls/poll/x/change/")
    answers += [staff.get(page) for page in pages]
    for answer in answers:
        assert found.found_in(answer.text) == [], answer.url

    system.stop()
    log = system.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line["level"] == "debug" for line in lines)
    assert any("exception" in line for line in lines)
    assert {name: lines_with(found.known[name], log) for name in found.found_in(log)} == {}
