"""Voting and counting on whole systems: many voters at once, repeated ballots, and processes that die."""

import concurrent.futures
import os
import signal
import time
import uuid
from typing import Any

import httpx
import pytest

from tests.e2e.clients import (
    Client,
    assert_all_agree,
    ledger,
    new_voter,
    some_ballots,
)
from tests.servers import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FULL = ["shared_full"]


@pytest.fixture(scope="module", params=["shared_embedded", *FULL])
def running(request: pytest.FixtureRequest) -> tuple[Any, Client]:
    system = request.getfixturevalue(request.param)
    return system, Client(system)


def test_all_tallies_agree_after_many_voters_at_once(running: Any) -> None:
    system, client = running
    code = client.make_poll(choices=["Ant", "Bee", "Cat", "Dog"])
    done = system.run_manage("crowd", code, "--voters", "120", "--rate", "100", "--url", system.url)
    assert "120" in done.stdout
    assert_all_agree(system, client, code, 120)


def test_one_voter_has_one_ballot(running: Any) -> None:
    system, client = running
    code = client.make_poll()
    voter = new_voter(system.url, code)
    address, ballot = f"/api/v1/polls/{code}/ballots/", {"selections": [2], "ballot_id": str(uuid.uuid4())}
    first = voter.post(address, json=ballot)
    again = voter.post(address, json=ballot)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    second = voter.post(address, json={"selections": [1]})
    assert (second.status_code, second.json()["code"]) == (409, "already_voted")
    assert second.headers["Content-Type"] == "application/problem+json"
    reused = voter.post(address, json=ballot | {"selections": [3]})
    assert (reused.status_code, reused.json()["code"]) == (422, "ballot_id_reused")
    assert_all_agree(system, client, code, 1)
    receipt = voter.get(f"/api/v1/receipts/{first.json()['receipt']}/").json()
    assert receipt == {"status": "counted", "poll": code, "round": 1}


def test_two_hundred_copies_at_once_count_once(running: Any) -> None:
    system, client = running
    code = client.make_poll()
    voter = new_voter(system.url, code)
    ballot = {"selections": [1], "ballot_id": str(uuid.uuid4())}
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(
            pool.map(lambda _: voter.post(f"/api/v1/polls/{code}/ballots/", json=ballot), range(200))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["receipt"] for answer in answers}) == 1
    assert_all_agree(system, client, code, 1)


def test_two_windows_do_not_make_two_votes(running: Any) -> None:
    system, client = running
    code = client.make_poll()
    voter = new_voter(system.url, code)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(
                lambda n: voter.post(f"/api/v1/polls/{code}/ballots/", json={"selections": [1 + n % 3]}),
                range(20),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    assert_all_agree(system, client, code, 1)


@pytest.mark.parametrize("running", FULL, indirect=True)
def test_a_killed_worker_does_not_change_the_tally(running: Any) -> None:
    system, client = running
    code = client.make_poll()
    # Workers are killed only twice, since starting one takes longer than counting the remaining ballots.
    for start in range(0, 10_000, 5_000):
        outcomes = client.cast_batch(code, some_ballots(start, start + 5_000))
        assert {outcome.get("status") for outcome in outcomes} == {"accepted"}
        for pid in system.children("worker"):
            os.kill(pid, signal.SIGKILL)
    # The supervisor restarts dead workers, and the sweep finds the remaining ballots.
    assert_all_agree(system, client, code, 10_000)
    wait_for(lambda: len(system.children("worker")) == 2, what="two workers")


@pytest.mark.parametrize("running", FULL, indirect=True)
def test_the_tally_stays_right_when_one_of_two_workers_is_killed_repeatedly(running: Any) -> None:
    system, client = running
    code = client.make_poll(revote=True)
    ballots = some_ballots(0, 3_000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(client.cast_batch, code, ballots[i : i + 250]) for i in range(0, 3_000, 250)]
        while not all(future.done() for future in sending):
            for pid in system.children("worker")[:1]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
    accepted = [outcome for future in sending for outcome in future.result()]
    assert {outcome.get("status") for outcome in accepted} == {"accepted"}
    assert_all_agree(system, client, code, 3_000)
    # The same ballots sent again are recognised and not counted twice.
    assert {o["status"] for o in client.cast_batch(code, ballots)} == {"accepted"}
    assert_all_agree(system, client, code, 3_000)


@pytest.mark.parametrize("running", FULL, indirect=True)
def test_a_killed_web_process_loses_no_acknowledged_ballot(running: Any) -> None:
    system, client = running
    code = client.make_poll()

    def accepted(ballot: dict[str, Any]) -> bool:
        try:
            return client.cast(code, **ballot).status_code == 202
        except httpx.TransportError:
            return False  # the connection died with the process, so the outcome is unknown: send it again

    for round_ in range(2):
        for pid in system.children("web")[:1]:
            os.kill(pid, signal.SIGKILL)
        for ballot in some_ballots(round_ * 20, round_ * 20 + 20):
            wait_for(lambda ballot=ballot: accepted(ballot), what="an acknowledgement")
    assert_all_agree(system, client, code, 40)


def test_ballots_accepted_while_closing_are_counted_and_later_ones_refused(running: Any) -> None:
    system, client = running
    code = client.make_poll()

    def cast(number: int) -> tuple[int, str]:
        answer = client.cast(code, f"v{number}", [1 + number % 3])
        return answer.status_code, answer.json().get("code", "")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        casting = [pool.submit(cast, number) for number in range(120)]
        while sum(future.done() for future in casting) < 30:
            time.sleep(0.005)
        client.step(code, "close")
    answers = [future.result() for future in casting]
    assert set(answers) <= {(202, ""), (409, "poll_not_open")}
    accepted = sum(status == 202 for status, _ in answers)
    final = client.tally_when(code, lambda tally: tally["state"] == "closed")
    assert final["ballots"] == ledger(system, code)["ballots"] == accepted
    assert client.step(code, "publish")["state"] == "published"
    again = client.cast(code, "v0", [1])
    assert (again.status_code, again.json()["code"]) == (409, "poll_not_open")
