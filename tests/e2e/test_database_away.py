"""Voting goes on while the database is away: the Redis log decides, and what it accepted is counted later.

/readyz says so, stays 200 for as long as ballots are accepted, and ends it by itself.
"""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.audience import Client, ledger, new_voter
from tests.servers import PostgreSQL, wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.faults]

CASTS = 12


def cast(voter: httpx.Client, code: str) -> httpx.Response:
    """A ballot whose answer may take no longer than a voter would wait; what hangs fails here."""
    body = {"selections": [2], "ballot_id": str(uuid.uuid4())}
    return voter.post(f"/api/v1/polls/{code}/ballots/", json=body, timeout=9)


def ready(client: Client) -> httpx.Response:
    return client.http.get("/readyz", timeout=9)


@pytest.mark.parametrize("away", ["killed", "frozen"])
def test_ballots_are_accepted_while_the_database_is(
    away: str, landslide: Callable[..., Landslide], start_postgresql: Callable[..., PostgreSQL]
) -> None:
    postgresql = start_postgresql()
    system = landslide(mode="full", web=1, worker=1, postgresql=postgresql)
    client = Client(system)
    code = client.make_poll()
    voters = [new_voter(system.url, code) for _ in range(CASTS + 1)]
    assert cast(voters.pop(), code).status_code == 202  # this process knows the poll
    (postgresql.kill if away == "killed" else postgresql.freeze)()
    try:
        answers: list[Any] = [cast(voter, code) for voter in voters]
        degraded = ready(client)
    finally:
        (postgresql.start if away == "killed" else postgresql.thaw)()
    assert {answer.status_code for answer in answers} == {202}
    client.tally_when(code, lambda tally: tally["ballots"] == CASTS + 1, patience=60)
    assert ledger(system, code)["votes"] == {"2": CASTS + 1}
    assert degraded.status_code == 200, degraded.text
    assert degraded.json()["database"] != "ok"
    assert "database_away" in degraded.json()["modes"]
    wait_for(lambda: ready(client).json()["modes"] == [], what="the degraded mode to end")
