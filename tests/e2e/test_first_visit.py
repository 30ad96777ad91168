"""A voter's first visit with a phone: the page loads little, and nothing moves while it loads."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests import fetch
from tests.e2e.clients import Client
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Limits for the page and its files, in requests and compressed bytes. The request for the voter and the
#: WebSocket aren't included.
REQUESTS_MOST, BYTES_MOST = 9, 45_000
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


def test_a_first_vote_takes_few_requests(system: Landslide, client: Client) -> None:
    page = fetch.get(f"{system.url}/p/{client.make_poll()}/", headers={"Accept-Encoding": "gzip"})
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', page.text))
    assert len(files) + 1 <= REQUESTS_MOST
    size = page.num_bytes_downloaded
    for path in files:
        answer = fetch.get(system.url + path, headers={"Accept-Encoding": "br"})
        assert not re.search(r"^import|\bfrom \"\.\.?/", answer.text, re.MULTILINE), (
            "the script imports more files"
        )
        size += answer.num_bytes_downloaded
    assert size <= BYTES_MOST


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
