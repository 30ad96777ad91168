"""The voter's page while its ballots are refused, or their answers are lost or come from another server.

The tests intercept the page's requests to a real system. They answer in the system's place, forward a ballot
and drop the answer, or never answer. In every case the ballot is accepted exactly once, with one ballot_id.
Until the outcome is certain, the page says neither that the ballot was accepted nor that it wasn't.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import wait_until
from tests.e2e.clients import Client
from tests.e2e.test_browser import PHONE, choose

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NOISE = (r"\b(4\d\d|5\d\d)\b", "net::")
WAITING, UNSURE, IN = "Your ballot is waiting", "Not sure whether your ballot is in", "Your ballot is in"
RETRY_AFTER = 1


@pytest.fixture(scope="module")
def running(shared_full: Any) -> tuple[Any, Client]:
    return shared_full, Client(shared_full)


def problem(status: int, code: str) -> dict[str, Any]:
    """Return a refusal in the server's format."""
    document = {"type": f"/api/errors/#{code}", "title": "…", "status": status, "detail": "…", "code": code}
    return {
        "status": status,
        "content_type": "application/problem+json",
        "headers": {"Retry-After": str(RETRY_AFTER)},
        "body": json.dumps(document),
    }


def foreign(status: int, body: str, content_type: str = "text/html") -> dict[str, Any]:
    """Return an answer that Landslide didn't send."""
    return {"status": status, "content_type": content_type, "body": body}


class Between:
    """Hold each cast of a page until the test answers it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.held: list[Any] = []
        self.ids: list[str] = []
        self.arrived_at: list[float] = []
        self.answered_at: list[float] = []
        page.route("**/ballots/", self._hold)

    def _hold(self, route: Any) -> None:
        self.ids.append(route.request.post_data_json["ballot_id"])
        self.arrived_at.append(time.monotonic())
        self.held.append(route)

    def answer(self, how: dict[str, Any] | Callable[[Any], None]) -> None:
        """Answer the oldest held cast. Wait for the next one if none is held."""
        wait_until(self.page, lambda: self.held, "a cast")
        self.answered_at.append(time.monotonic())
        route = self.held.pop(0)
        how(route) if callable(how) else route.fulfill(**how)


def pass_on(route: Any) -> None:
    route.continue_()


def lose_the_answer(route: Any) -> None:
    """Forward the ballot, but drop the answer."""
    assert route.fetch().status == 202
    route.abort("connectionreset")


def never_answer(route: Any) -> None:
    assert route.fetch().status == 202


def press_cast(system: Any, code: str, page: Any, label: str = "Bee") -> None:
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#submit")).not_to_have_attribute("aria-disabled", "true")
    choose(page, label)
    page.get_by_role("button", name="Cast my ballot").click()


def expect_in_once(client: Client, code: str, page: Any, between: Between) -> None:
    """Forward the next cast, and expect the ballot to be accepted and counted once."""
    between.answer(pass_on)
    expect(page.locator("#cast-title")).to_have_text(IN)
    assert client.tally_when(code, lambda tally: tally["ballots"] >= 1)["ballots"] == 1
    assert len(set(between.ids)) == 1


def test_a_refused_cast_says_that_it_waits_and_is_sent_again(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    page = visitor(tolerated=NOISE, **PHONE).page
    between = Between(page)
    press_cast(system, code, page)
    for refusal in (problem(429, "rate_limited"), problem(503, "overloaded")):
        between.answer(refusal)
        expect(page.locator("#cast-title")).to_have_text(WAITING)
        expect(page.locator("#cast-text")).to_contain_text("Many people are voting right now")
        # The voter can't send it again by hand, which would add to the load.
        expect(page.locator("#submit")).to_be_hidden()
    # The page doesn't claim that many people are voting when the log is inconsistent.
    between.answer(problem(503, "log_inconsistent"))
    expect(page.locator("#cast-text")).to_contain_text("held up")
    expect(page.locator("#cast-title")).to_have_text(WAITING)
    expect_in_once(client, code, page, between)
    answered_and_next = zip(between.answered_at, between.arrived_at[1:], strict=False)
    pauses = [next_one - answered for answered, next_one in answered_and_next]
    assert len(pauses) == 3
    assert min(pauses) >= RETRY_AFTER  # never earlier than Retry-After says


OPEN_OUTCOMES = {
    "the store failed": problem(503, "outcome_unknown"),
    "an internal error": problem(500, "internal_error"),
    "a proxy is overloaded": foreign(503, "<h1>503</h1>"),
    "a proxy forbids it": foreign(403, "<h1>Forbidden</h1>"),
    "a captive portal": foreign(200, "<h1>Welcome to the hotel</h1>"),
    "a portal that speaks JSON": foreign(400, '{"code": "malformed", "status": 400}', "application/json"),
    "somebody else's receipt": foreign(
        202, '{"receipt": "x", "ballot_id": "6f1c1e9e-3f0a-4f5e-9d5b-6d2f5f9f7c11"}', "application/json"
    ),
    # An earlier try may have been accepted, and only the vote log knows that. So a refusal that was decided
    # before the log isn't final.
    "a refusal before the log": problem(403, "foreign_origin"),
}


def test_after_an_answer_that_is_not_final_the_outcome_stays_unknown(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    page = visitor(tolerated=NOISE, **PHONE).page
    between = Between(page)
    press_cast(system, code, page)
    for tries, (name, outcome) in enumerate(OPEN_OUTCOMES.items(), 1):
        between.answer(outcome)
        page.wait_for_function(
            "([key, tries]) => JSON.parse(localStorage[key]).pending?.attempts >= tries",
            arg=[f"landslide.ballot.{code}", tries],
        )
        expect(page.locator("#cast-title"), name).to_have_text(UNSURE)
        expect(page.locator("#submit")).to_have_text("Send it now")
        # Playwright's click() would wait for the button, but the page may already be sending the ballot
        # again.
        page.locator("#submit").evaluate("(button) => button.click()")
    expect_in_once(client, code, page, between)


def test_an_unknown_outcome_stays_unknown_when_the_next_try_is_refused(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    page = visitor(tolerated=NOISE).page
    between = Between(page)
    press_cast(system, code, page)
    between.answer(lose_the_answer)
    between.answer(problem(503, "overloaded"))
    expect(page.locator("#cast-text")).to_contain_text("Many people are voting right now")
    expect(page.locator("#cast-title")).to_have_text(UNSURE)
    expect_in_once(client, code, page, between)


def test_a_page_closed_before_the_answer_sends_the_ballot_again_when_reopened(
    running: Any, visitor: Any
) -> None:
    system, client = running
    code = client.make_poll()
    person = visitor(tolerated=NOISE, **PHONE)
    between = Between(person.page)
    press_cast(system, code, person.page)
    between.answer(never_answer)
    client.tally_when(code, lambda tally: tally["ballots"] == 1)
    person.page.close()
    page = person.context.new_page()
    again = Between(page)
    # The voter endpoint hides that the voter has voted, so the page knows only what it has stored itself.
    page.route("**/voter/", lambda route: route.fulfill(json=not_told(route)))
    page.goto(f"{system.url}/p/{code}/")
    again.answer(problem(503, "overloaded"))
    expect(page.locator("#cast-text")).to_contain_text("Many people are voting right now")
    expect(page.locator("#cast-title")).to_have_text(UNSURE)
    expect_in_once(client, code, page, again)
    assert set(again.ids) == set(between.ids)


def not_told(route: Any) -> dict[str, Any]:
    return {**route.fetch().json(), "voted": False, "ballot_id": None, "receipt": None}


def test_another_window_sends_the_ballot_when_its_own_is_closed(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    person = visitor(tolerated=NOISE)
    other = person.context.new_page()
    other.clock.install()
    other.goto(f"{system.url}/p/{code}/")
    expect(other.locator("#submit")).to_be_visible()
    between = Between(person.page)
    press_cast(system, code, person.page)
    expect(other.locator("#cast-text")).to_contain_text("Casting")
    person.page.close()
    taken = Between(other)
    other.clock.fast_forward(90_000)
    expect_in_once(client, code, other, taken)
    assert set(taken.ids) == set(between.ids)


@pytest.mark.parametrize("first", ["turned away", "lost"])
def test_the_page_says_whether_a_ballot_was_in_time_when_the_poll_closes_before_its_retry(
    first: str, running: Any, visitor: Any
) -> None:
    """If the first try was refused, the ballot is too late. If only its answer was lost, it counts."""
    system, client = running
    code = client.make_poll()
    page = visitor(tolerated=NOISE).page
    closing: list[str] = []

    def close_first(route: Any) -> None:
        closing.append(client.step(code, "close")["state"])
        route.continue_()

    between = Between(page)
    press_cast(system, code, page)
    between.answer(problem(503, "overloaded") if first == "turned away" else lose_the_answer)
    between.answer(close_first)
    if first == "lost":
        expect(page.locator("#cast-title")).to_have_text(IN)
        assert client.tally_when(code, lambda tally: tally["state"] == "closed")["ballots"] == 1
        assert len(set(between.ids)) == 1
    else:
        expect(page.locator("#cast-text")).to_contain_text("Voting closed before your ballot arrived")
        assert client.tally_when(code, lambda tally: tally["state"] == "closed")["ballots"] == 0
    assert closing
