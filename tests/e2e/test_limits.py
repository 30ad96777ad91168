"""Rate limits by address on a whole system with two web processes, behind a proxy.

When many addresses exceed a poll's limits at the same time, only this poll requires proofs of work.
"""

import concurrent.futures
import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from altcha.v1 import Payload, solve_challenge

from analytics.health.anomalies import THRESHOLD
from tests import fetch
from tests.conftest import landslides
from tests.e2e.clients import Client, assert_all_agree, http_client, new_voter
from tests.servers import wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.faults]

MOST, BATCH = 20, 8
WINDOW = 86_400  # seconds: the longest allowed window, so that counts hardly decrease during a test
STUFFER, SOMEBODY, HALL = "203.0.113.7", "198.51.100.9", "192.0.2.20"


FULL = ["full-uvicorn"]


@pytest.fixture(scope="module", params=[*FULL, "embedded-daphne"])
def system(request: pytest.FixtureRequest) -> Iterator[Landslide]:
    mode, server = request.param.split("-")
    with contextlib.closing(landslides(request)) as made:
        env = {
            "RATE_LIMITS": f"voter=300/{WINDOW},address={MOST}/{WINDOW},network=1000/{WINDOW}",
            "TRUSTED_PROXIES": "127.0.0.1",
            "PROOF_WORK": "2000",
        }
        yield next(made)(mode=mode, server=server, web=2, worker=1, env=env)


@pytest.fixture(scope="module")
def client(system: Landslide) -> Client:
    return Client(system)


def cast(system: Landslide, code: str, address: str, voter: httpx.Client | None = None) -> httpx.Response:
    voter = voter or new_voter(system.url, code)
    path = f"/api/v1/polls/{code}/ballots/"
    # Only the last entry counts, which the proxy adds. Clients can forge the entries before it.
    return voter.post(path, json={"selections": [1]}, headers={"X-Forwarded-For": f"127.0.0.1, {address}"})


def crowd(system: Landslide, code: str, address: str, voters: int) -> list[httpx.Response]:
    with concurrent.futures.ThreadPoolExecutor(BATCH) as threads:
        return list(threads.map(lambda _: cast(system, code, address), range(voters)))


def codes(answers: list[httpx.Response]) -> Counter[str]:
    return Counter(answer.json().get("code") or answer.json()["status"] for answer in answers)


def test_limits_hold_from_the_first_ballot_on(system: Landslide, client: Client) -> None:
    """Run this test first, on one connection, so that its first ballot is the first of the web process."""
    http, code = http_client(base_url=system.url), client.make_poll()
    answers = [Voter(http, code, STUFFER).cast() for _ in range(MOST + 5)]
    assert codes(answers) == {"accepted": MOST + 1, "rate_limited": 4}


def test_only_the_address_over_its_limit_is_refused(system: Landslide, client: Client) -> None:
    code = client.make_poll()
    answers = crowd(system, code, STUFFER, 3 * MOST)
    seen = codes(answers)
    assert set(seen) == {"accepted", "rate_limited"}
    assert MOST <= seen["accepted"] <= MOST + 2 * BATCH
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(answer.headers["Content-Type"] == "application/problem+json" for answer in refused)
    assert len({answer.headers["Retry-After"] for answer in refused}) > 1, "all clients would retry together"
    assert codes(crowd(system, code, SOMEBODY, 5)) == {"accepted": 5}
    assert_all_agree(system, client, code, seen["accepted"] + 5)


def test_a_venue_network_may_have_many_voters_on_one_address(system: Landslide, client: Client) -> None:
    code = client.make_poll(venue_networks=[f"{HALL}/32"])
    assert codes(crowd(system, code, HALL, 2 * MOST + BATCH)) == {"accepted": 2 * MOST + BATCH}


def test_ballots_over_the_limit_are_quarantined_if_the_poll_says_so(
    system: Landslide, client: Client
) -> None:
    code = client.make_poll(over_limit="quarantine", proof_of_work="off")
    answers = crowd(system, code, STUFFER, 3 * MOST)
    assert codes(answers) == {"accepted": 3 * MOST}
    tally = client.tally_when(code, lambda tally: all_counted(tally) == 3 * MOST)
    assert MOST <= tally["ballots"] <= MOST + 2 * BATCH
    states = Counter(system_status(system, answer.json()["receipt"]) for answer in answers)
    assert states["counted"] == tally["ballots"]
    assert states["quarantined"] == tally["quarantined"]["ballots"]


def all_counted(tally: dict[str, Any]) -> int:
    return int(tally["ballots"]) + int(tally.get("quarantined", {}).get("ballots", 0))


def system_status(system: Landslide, receipt: str) -> str:
    status: str = fetch.get(f"{system.url}/api/v1/receipts/{receipt}/").json()["status"]
    return status


# --- from many addresses ---


class Voter:
    """A new voter, on an HTTP client that several voters share."""

    def __init__(self, http: httpx.Client, code: str, address: str) -> None:
        self.http, self.base = http, f"/api/v1/polls/{code}"
        met = http.get(f"{self.base}/voter/", headers={"X-Forwarded-For": address})
        self.proof = met.json()["proof"]
        self.headers = {"X-Forwarded-For": address, "Cookie": met.headers["Set-Cookie"].partition(";")[0]}
        http.cookies.clear()

    def cast(self, **more: Any) -> httpx.Response:
        ballot = {"selections": [1], "ballot_id": str(uuid.uuid4()), **more}
        return self.http.post(f"{self.base}/ballots/", json=ballot, headers=self.headers)


def flood(http: httpx.Client, code: str, addresses: int) -> set[int]:
    """Cast more ballots from each address than its limit allows. Return the set of HTTP statuses."""
    return {
        Voter(http, code, f"203.0.{number}.7").cast().status_code
        for number in range(addresses)
        for _ in range(MOST + 2)
    }


def solved(challenge: dict[str, Any]) -> str:
    number = solve_challenge(challenge["challenge"], challenge["salt"], "SHA-256", challenge["maxnumber"])
    assert number is not None
    terms = {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")}
    return Payload(**terms, number=number.number).to_base64()


@pytest.mark.parametrize("system", FULL, indirect=True)
def test_a_poll_requires_proofs_of_work_once_many_addresses_exceed_their_limits(
    system: Landslide, client: Client
) -> None:
    http = http_client(base_url=system.url)  # one connection, so one web process serves all
    code, other = client.make_poll(), client.make_poll()
    assert flood(http, code, THRESHOLD // 2) == {202, 429}
    assert Voter(http, code, "198.51.100.1").proof is None

    assert flood(http, code, THRESHOLD + THRESHOLD // 2) >= {202, 429}
    wait_for(lambda: Voter(http, code, "198.51.100.2").proof is not None, what="the poll to ask for proofs")
    wait_for(lambda: "proof_of_work" in client.http.get("/readyz").json()["modes"], what="the mode")
    assert "proof_switched_on" in system.output()

    honest = Voter(http, code, "198.51.100.3")
    refused = honest.cast()
    assert (refused.status_code, refused.json()["code"]) == (403, "proof_required")
    assert refused.json()["challenge"] == f"/api/v1/polls/{code}/challenge/"
    assert honest.cast(proof=solved(honest.proof)).status_code == 202
    stolen = Voter(http, code, "198.51.100.4").cast(proof=solved(honest.proof))
    assert (stolen.status_code, stolen.json()["code"]) == (403, "proof_required")
    assert Voter(http, other, "198.51.100.5").cast().status_code == 202
