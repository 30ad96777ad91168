"""Create, open, watch, close, publish and reset a poll in the admin, in a real browser.

This is full mode, where the admin and the workers are different processes. test_page_headers.py closes a poll
from the admin in embedded mode.
"""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.admin_login import log_in
from tests.e2e.clients import Client

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def running(shared_full: Any) -> tuple[Any, Client]:
    return shared_full, Client(shared_full)


def press(page: Page, name: str) -> None:
    """Press a button of the lifecycle, and the same button on the confirmation page."""
    page.get_by_role("button", name=name).click()
    expect(page.locator(".ls-lines")).to_be_visible()
    page.get_by_role("button", name=name).click()


def test_a_poll_is_run_from_the_admin(running: Any, visitor: Any) -> None:
    system, client = running
    organiser = visitor()
    page = organiser.page
    log_in(page, system)
    expect(page.locator("[data-list=workers] li").first).to_contain_text("alive")
    page.get_by_role("link", name="New poll").click()
    page.fill("#id_question", "Which colour?")
    page.fill("#id_labels_1", "Red")
    page.keyboard.press("Enter")  # moves to the next row and doesn't submit the form
    page.keyboard.type("Blue")
    for number, label in enumerate(["Green", "Yellow", "Black"], 3):
        if number > 4:
            page.get_by_role("button", name="Add another choice").click()
        page.fill(f"#id_labels_{number}", label)
    page.get_by_label("Remove this choice").nth(2).click()
    page.locator("summary", has_text="Results ·").click()
    page.select_option("#id_results_visible", "staff")
    page.get_by_role("button", name="Save", exact=True).click()
    code = page.locator(".ls-code").inner_text()

    page.fill("#id_question", "Which colour for the door?")
    press(page, "Open voting")  # also saves the form
    expect(page.locator("h1")).to_contain_text("Which colour for the door?")
    expect(page.locator("[data-status]")).to_have_text("Live")
    expect(page.locator("#poll-tally .ls-label")).to_have_text(["Red", "Blue", "Yellow", "Black"])
    for voter, mark in enumerate((1, 1, 2)):
        assert client.cast(code, f"voter {voter}", [mark]).status_code == 202
    expect(page.locator("#poll-tally .ls-total")).to_have_text("3 ballots")
    expect(page.locator("#poll-tally tbody tr").first).to_contain_text("66.7%")

    # The poll is closed in another tab. This tab updates by itself until the poll is closed.
    other = organiser.context.new_page()
    other.goto(page.url)
    press(other, "Close voting")
    for tab in (page, other):
        expect(tab.get_by_role("button", name="Publish the result")).to_be_visible()
        expect(tab.locator("[aria-current=step]")).to_have_text("Closed")
    expect(page.locator("#poll-tally tbody tr").first).to_contain_text("Winner")

    page.get_by_role("button", name="Publish the result").click()
    expect(page.locator(".ls-lines")).to_contain_text("doesn't make them public")
    page.get_by_role("button", name="Publish the result").click()
    expect(page.locator("[aria-current=step]")).to_have_text("Published")

    press(page, "Reset")
    expect(page.locator("[aria-current=step]")).to_have_text("Draft")
    page.locator("summary", has_text="earlier round").click()
    expect(page.locator(".ls-rounds tbody tr").first).to_contain_text("66.7%")
    # The other tab showed the published poll. It now shows the draft's form.
    expect(other.locator("#id_labels_1")).to_have_value("Red")
