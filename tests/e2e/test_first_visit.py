"""A voter's first visit with a phone: the page loads little, and nothing moves while it loads."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests import fetch
from tests.e2e.clients import Client
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Limits from opening the page with an empty cache until the ballot is accepted, in requests (the WebSocket
#: included) and bytes over the wire.
REQUESTS_MOST, BYTES_MOST = 8, 40_000
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def system(shared_embedded: Landslide) -> Landslide:
    return shared_embedded


@pytest.fixture(scope="module")
def client(system: Landslide) -> Client:
    return Client(system)


class Traffic:
    """The requests of a page in Chromium, and their bytes over the wire."""

    def __init__(self, page: Any) -> None:
        self.addresses: list[str] = []
        self.bytes = 0
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", lambda event: self.addresses.append(event["request"]["url"]))
        session.on("Network.webSocketCreated", lambda event: self.addresses.append(event["url"]))
        session.on("Network.loadingFinished", self._count)
        session.send("Network.enable")

    def _count(self, event: dict[str, Any]) -> None:
        self.bytes += event["encodedDataLength"]


def test_a_first_vote_takes_few_requests(system: Landslide, client: Client, visitor: Any) -> None:
    code = client.make_poll()
    page = visitor().page
    traffic = Traffic(page)
    page.goto(f"{system.url}/p/{code}/")
    page.locator("label.choice").first.click()
    page.locator("#submit").click()
    expect(page.locator("#cast-title")).to_have_text("Your ballot is in")
    # On a busy machine the page repeats requests, and asks for the tally and the receipt over HTTP.
    asked = {address for address in traffic.addresses if not re.search("/(tally|receipts)/", address)}
    if not any(address.endswith(".svg") for address in asked):  # Chromium without a window fetches no icon
        asked.add(icon := page.locator("link[rel=icon]").get_attribute("href"))
        traffic.bytes += len(fetch.get(system.url + icon).content)
    assert len(asked) <= REQUESTS_MOST, asked
    assert traffic.bytes <= BYTES_MOST


@pytest.mark.parametrize("results_visible", ["always", "staff"])
@pytest.mark.parametrize("closed", [False, True])
def test_nothing_moves_while_the_results_load(
    system: Landslide, client: Client, visitor: Any, results_visible: str, closed: bool
) -> None:
    # The labels are two lines long and differ only at the end. Two of them are tied.
    labels = [f"The motion of the northern district's members on item {n}" for n in range(1, 9)]
    code = client.make_poll(results_visible=results_visible, choices=labels)
    client.cast(code, "ann", [1])
    client.cast(code, "bob", [2])
    if closed:
        client.step(code, "close")
        client.tally_when(code, lambda tally: tally["state"] == "closed")
    page = visitor(viewport={"width": 390, "height": 844}).page
    page.add_init_script(SHIFTS)
    page.goto(f"{system.url}/p/{code}/results/")
    shown = page.locator("#why") if results_visible == "staff" else page.locator("#totals")
    expect(shown).not_to_have_text("")
    expect(page.locator("#status")).to_have_attribute("data-status", "live")
    page.evaluate("document.fonts.ready")
    assert page.evaluate("window.shifted") < 0.1
