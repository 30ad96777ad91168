"""Check the count: voters with their receipts, anybody with an audit bundle, the organiser with a recount."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import fetch
from tests.analytics.audit_bundles import run_verifier
from tests.e2e.admin_login import log_in
from tests.e2e.clients import Client, new_voter

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


@pytest.fixture(scope="module")
def running(shared_full: Any) -> tuple[Any, Client]:
    return shared_full, Client(shared_full)


def cast(page: Page, url: str, code: str, label: str) -> str:
    page.goto(f"{url}/p/{code}/")
    page.locator("label.choice", has_text=label).click()
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    return page.locator("#receipt-code").input_value()


def cast_at_once(url: str, code: str) -> str:
    """Cast a ballot without a browser, and return its receipt."""
    answer = new_voter(url, code).post(f"/api/v1/polls/{code}/ballots/", json={"selections": [1]})
    receipt: str = answer.json()["receipt"]
    return receipt


def check(page: Page) -> None:
    page.get_by_role("button", name="Check it").click()


def test_from_the_ballot_to_the_verified_bundle(running: Any, visitor: Any, tmp_path: Path) -> None:
    system, client = running
    code = client.make_poll(choices=["Ant", "Bee"])
    phone = visitor(**PHONE).page
    receipt = cast(phone, system.url, code, "Bee")

    phone.get_by_role("link", name="Check", exact=True).click()
    expect(phone.locator("#receipt")).to_have_value(receipt)  # this browser's own
    expect(phone.locator("#receipt-from")).to_be_visible()
    expect(phone.locator("#whole-count + p + p")).to_contain_text("no published list")
    check(phone)
    expect(phone.locator(".verdict-title")).to_have_text(re.compile("Counted|Accepted"))
    assert receipt not in phone.url
    assert receipt not in system.output()

    client.step(code, "close")
    client.step(code, "publish")
    phone.goto(f"{system.url}/p/{code}/results/")
    expect(phone.locator("#state")).to_contain_text("Official result")
    phone.get_by_role("link", name="Check the count").click()
    expect(phone.locator("#receipt")).to_have_value(receipt)
    check(phone)
    expect(phone.locator(".verdict-title")).to_have_text("Counted")
    # A task makes the bundle after publishing.
    link = phone.get_by_role("link", name="Audit bundle")
    for _ in range(60):
        if link.count():
            break
        phone.wait_for_timeout(500)
        check(phone)
    with phone.expect_download() as downloading:
        link.click()
    bundle = tmp_path / "bundle.zip"
    downloading.value.save_as(bundle)
    fingerprint = phone.locator(".fingerprint").inner_text()
    answer = run_verifier(bundle, "--key", fingerprint, "--receipt", receipt)
    assert answer.code == 0, answer.said
    verifier = fetch.get(f"{system.url}{phone.get_by_role('link', name='Verifier').get_attribute('href')}")
    assert verifier.text.startswith("#!/usr/bin/env python3")


def test_a_receipt_can_be_checked_without_javascript(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll(choices=["Ant", "Bee"])
    receipt = cast_at_once(system.url, code)
    plain = visitor(java_script_enabled=False).page
    plain.goto(f"{system.url}/p/{code}/receipt/")
    plain.locator("#receipt").fill(receipt)
    check(plain)
    expect(plain.locator(".verdict-title")).to_have_text(re.compile("Counted|Accepted"))
    plain.locator("#receipt").fill("nonsense")
    check(plain)
    expect(plain.locator(".verdict-title")).to_have_text("We don't know this receipt")


def test_the_organiser_recounts_and_purges(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll(choices=["Ant", "Bee"])
    receipt = cast_at_once(system.url, code)
    client.step(code, "close")
    client.step(code, "publish")
    desk = visitor().page
    log_in(desk, system)
    desk.goto(f"{system.url}/admin/polls/poll/?q={code}")
    desk.get_by_role("link", name=code).click()
    desk.get_by_role("link", name="Recount, audit, purge").click()
    desk.get_by_role("button", name="Recount").click()
    expect(desk.get_by_text("The tally matches the ledger.")).to_be_visible()
    desk.get_by_role("link", name="Purge").click()
    desk.get_by_label("Type the poll's code").fill(code)
    desk.get_by_role("button", name="Purge for good").click()
    expect(desk.get_by_text("Nothing here links its ballots to a voter any more.")).to_be_visible()
    desk.goto(f"{system.url}/p/{code}/receipt/")
    desk.locator("#receipt").fill(receipt)
    check(desk)
    expect(desk.locator(".verdict-title")).to_have_text("Not linked to a ballot any more")
