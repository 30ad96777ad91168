"""API clients and voters without a browser, and direct reads of the ledger, for tests of a running system."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from tests import fetch
from tests.servers import PATIENCE
from tests.system import Landslide

_opened: list[httpx.Client] = []
#: All connections may stay idle. With a lower limit httpcore closes surplus idle connections, and sometimes
#: one that another thread has just received.
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)


def http_client(**options: Any) -> httpx.Client:
    """Open an HTTP client. tests/e2e/conftest.py closes all of them after each test file, by close_all()."""
    _opened.append(fetch.Client(limits=LIMITS, **options))
    return _opened[-1]


def close_all() -> None:
    while _opened:
        _opened.pop().close()


class Client:
    """An API client of a running system, with every scope."""

    def __init__(self, system: Landslide) -> None:
        self.system = system
        key = {"Authorization": f"Api-Key {system.api_key}"}
        self.http = http_client(base_url=system.url, headers=key)

    def make_poll(self, open: bool = True, **fields: Any) -> str:
        body = {"question": "Which act wins?", "method": "single", "choices": ["Ant", "Bee", "Cat"]} | fields
        answer = self.http.post("/api/v1/polls/", json=body)
        assert answer.status_code == 201, answer.text
        code: str = answer.json()["code"]
        if open:
            self.step(code, "open")
        return code

    def change(self, code: str, **fields: Any) -> None:
        answer = self.http.patch(f"/api/v1/polls/{code}/", json=fields)
        assert answer.status_code == 200, answer.text

    def step(self, code: str, step: str) -> Any:
        answer = self.http.post(f"/api/v1/polls/{code}/{step}/")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cast(self, code: str, voter: str, selections: list[int], **fields: Any) -> httpx.Response:
        body = {"selections": selections, "voter": voter} | fields
        return self.http.post(f"/api/v1/polls/{code}/ballots/", json=body)

    def cast_batch(self, code: str, ballots: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = self.http.post(f"/api/v1/polls/{code}/ballots/batch/", json={"ballots": ballots})
        assert answer.status_code == 200, answer.text
        outcomes: list[dict[str, Any]] = answer.json()["outcomes"]
        return outcomes

    def tally(self, code: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1/polls/{code}/tally/")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def tally_when(self, code: str, wanted: Callable[[dict[str, Any]], bool]) -> Any:
        deadline = time.monotonic() + 2 * PATIENCE
        while not wanted(tally := self.tally(code)):
            assert time.monotonic() < deadline, f"the tally never matched: {tally}"
            time.sleep(0.05)
        return tally


def new_voter(url: str, code: str) -> httpx.Client:
    """Open an HTTP client with a voter cookie."""
    voter = http_client(base_url=url)
    assert voter.get(f"/api/v1/polls/{code}/voter/").status_code == 200
    return voter


def some_ballots(start: int, stop: int) -> list[dict[str, Any]]:
    """Return ballots by the voters with the numbers range(start, stop), for choices 1 to 3 in turn."""
    return [
        {
            "selections": [1 + n % 3],
            "voter": f"voter-{n}",
            "ballot_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))),
        }
        for n in range(start, stop)
    ]


def ledger(system: Landslide, code: str) -> dict[str, Any]:
    """Count a poll's ballots in the ledger without any code of the product."""
    (poll,) = system.query("SELECT id, round FROM polls_poll WHERE code = %s", code)
    rows = system.query("SELECT selection FROM polls_ballot WHERE poll_id = %s AND round = %s", *poll)
    votes = Counter(number for (selection,) in rows for number in selection.split(",") if number)
    ((dead,),) = system.query("SELECT COUNT(*) FROM polls_deadletter")
    return {"ballots": len(rows), "votes": votes, "dead": dead}


def by_socket(system: Landslide, code: str) -> Any:
    """Return the first tally that a new WebSocket receives."""
    with fetch.websocket(f"{system.ws_url}/ws/polls/{code}/") as socket:
        while True:
            message = json.loads(socket.recv(timeout=PATIENCE))
            if message["type"] == "tally":
                return message


def votes_of(tally: dict[str, Any]) -> dict[str, int]:
    return {str(choice["number"]): choice["votes"] for choice in tally["choices"] if choice["votes"]}


def assert_all_agree(system: Landslide, client: Client, code: str, ballots: int) -> None:
    """Wait until `ballots` ballots are counted. Then ledger, API and WebSocket must show the same tally."""
    tally = client.tally_when(code, lambda tally: tally["ballots"] >= ballots)
    counted = ledger(system, code)
    assert counted["ballots"] == tally["ballots"] == ballots
    assert counted["votes"] == votes_of(tally) == votes_of(by_socket(system, code))
    assert counted["dead"] == 0
