"""An attack from many addresses switches proofs of work on for the poll, and for no other."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from altcha.v1 import Payload, solve_challenge

from analytics.anomalies import SEVERAL
from tests.e2e.audience import Client, http_client
from tests.servers import wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PER_ADDRESS = 3
#: Small limits, and an address for each request, as a proxy would tell it.
SETTINGS = {
    "RATE_LIMITS": f"address={PER_ADDRESS}/60",
    "TRUSTED_PROXIES": "127.0.0.1",
    "VENUE_NETWORKS": "",
    "PROOF_WORK": "2000",
}


class Voter:
    """A new one, on a connection that all of them share."""

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
    """From each address more casts than it may; the answers' statuses."""
    return {
        Voter(http, code, f"203.0.{number}.7").cast().status_code
        for number in range(addresses)
        for _ in range(PER_ADDRESS + 2)
    }


def solved(challenge: dict[str, Any]) -> str:
    number = solve_challenge(challenge["challenge"], challenge["salt"], "SHA-256", challenge["maxnumber"])
    assert number is not None
    terms = {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")}
    return Payload(**terms, number=number.number).to_base64()


def test_many_addresses_over_their_limits_make_the_poll_ask_for_proofs(
    landslide: Callable[..., Landslide],
) -> None:
    system = landslide(mode="full", web=1, worker=1, env=SETTINGS)
    client, http = Client(system), http_client(base_url=system.url)
    code, other = client.make_poll(), client.make_poll()
    assert flood(http, code, SEVERAL // 2) == {202, 429}
    assert Voter(http, code, "198.51.100.1").proof is None

    assert flood(http, code, 2 * SEVERAL) >= {202, 429}
    wait_for(lambda: Voter(http, code, "198.51.100.2").proof is not None, what="the poll to ask for proofs")
    assert client.http.get("/readyz").json()["modes"] == ["proof_of_work"]
    assert "proof_switched_on" in system.output()

    honest = Voter(http, code, "198.51.100.3")
    refused = honest.cast()
    assert (refused.status_code, refused.json()["code"]) == (403, "proof_required")
    assert refused.json()["challenge"] == f"/api/v1/polls/{code}/challenge/"
    assert honest.cast(proof=solved(honest.proof)).status_code == 202
    stolen = Voter(http, code, "198.51.100.4").cast(proof=solved(honest.proof))
    assert (stolen.status_code, stolen.json()["code"]) == (403, "proof_required")
    assert Voter(http, other, "198.51.100.5").cast().status_code == 202
