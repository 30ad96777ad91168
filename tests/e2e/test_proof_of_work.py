"""Proof of work in a real browser: required from the start or later, with and without a web worker."""

import time
from typing import Any

import pytest
from playwright.sync_api import expect

from polls.voters import rules_loader
from tests.e2e.clients import Client
from tests.e2e.test_browser import PHONE, cast, choose

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def running(shared_full: Any) -> tuple[Any, Client]:
    return shared_full, Client(shared_full)


def ask_for_proofs(client: Client, code: str) -> None:
    client.change(code, proof_of_work="on")


def casts_of(page: Any) -> list[Any]:
    """Return a list that collects the responses to all casts that the page sends from now on."""
    seen: list[Any] = []
    page.on("response", lambda answer: seen.append(answer) if answer.url.endswith("/ballots/") else None)
    return seen


def test_the_work_is_done_while_the_voter_reads(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    ask_for_proofs(client, code)
    page = visitor(**PHONE).page
    casts = casts_of(page)
    with page.expect_event("worker"):
        page.goto(f"{system.url}/p/{code}/")
    cast(page, "Bee")
    assert [answer.status for answer in casts] == [202]
    assert client.tally_when(code, lambda tally: tally["ballots"] == 1)["choices"][1]["votes"] == 1


def test_a_page_sends_the_proof_if_the_poll_requires_it_only_later(running: Any, visitor: Any) -> None:
    """The ballot is refused. The page computes a proof and sends the ballot again with the same ballot_id."""
    system, client = running
    code = client.make_poll()
    page = visitor(tolerated=("403",), **PHONE).page
    casts = casts_of(page)
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#submit")).not_to_have_attribute("aria-disabled", "true")
    # Changed directly in the database, so no hint is sent. The servers notice once their cached rules are
    # stale.
    assert system.query("UPDATE polls_poll SET proof_of_work = 'on' WHERE code = %s RETURNING id", code)
    time.sleep(rules_loader.STALE_SECONDS)
    cast(page, "Cat")
    assert [answer.status for answer in casts] == [403, 202]
    assert len({answer.request.post_data_json["ballot_id"] for answer in casts}) == 1
    assert client.tally_when(code, lambda tally: tally["ballots"] == 1)["ballots"] == 1


def test_a_page_without_workers_does_the_work_itself(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    ask_for_proofs(client, code)
    page = visitor().page
    page.add_init_script("delete window.Worker")
    page.goto(f"{system.url}/p/{code}/")
    cast(page, "Ant")
    assert client.tally_when(code, lambda tally: tally["ballots"] == 1)["ballots"] == 1


def test_the_page_says_that_it_waits_for_the_proof(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    ask_for_proofs(client, code)
    page = visitor().page
    held: list[Any] = []
    page.route("**/proof/worker*.js", lambda route: held.append(route))  # the worker doesn't load yet
    page.goto(f"{system.url}/p/{code}/")
    choose(page, "Ant")
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-text")).to_contain_text("not a robot")
    assert client.tally(code)["ballots"] == 0
    held[0].continue_()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")


def test_ballots_of_an_api_client_need_no_proof(running: Any) -> None:
    _, client = running
    code = client.make_poll()
    ask_for_proofs(client, code)
    assert client.cast(code, "seat-1", [1]).status_code == 202
