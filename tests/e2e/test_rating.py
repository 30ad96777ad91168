"""Ratings on the voter's page, by thumb, by keyboard and for a screen reader, and on the screens."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.clients import Client

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
STARS = {"style": "stars", "low_label": "poor", "high_label": "excellent"}


@pytest.fixture(scope="module")
def running(shared_embedded: Any) -> tuple[Any, Client]:
    return shared_embedded, Client(shared_embedded)


def rating(client: Client, *items: str, **fields: Any) -> str:
    return client.make_poll(**{"method": "rating", "choices": items, "config": STARS} | fields)


def batch(client: Client, code: str, *ballots: dict[str, int]) -> None:
    rated = [{"ratings": ratings, "voter": f"v{n}"} for n, ratings in enumerate(ballots)]
    assert all(outcome["status"] == "accepted" for outcome in client.cast_batch(code, rated))
    client.tally_when(code, lambda tally: tally["ballots"] == len(ballots))


def opened(visitor: Any, url: str, **options: Any) -> Any:
    page = visitor(**options).page
    page.goto(url)
    expect(page.locator("#main")).to_have_attribute("data-phase", "choosing")
    return page


def test_by_thumb_with_a_change(running: Any, visitor: Any) -> None:
    system, client = running
    code = rating(client, "Talk", "Food", "Coffee", revote=True)
    page = opened(visitor, f"{system.url}/p/{code}/", **PHONE)
    items = page.locator(".item")
    expect(page.locator("#rule")).to_have_text("Rate one or more.")
    for tile in items.first.locator("label.rate").all():
        box = tile.bounding_box()
        assert box["height"] >= 44 and box["width"] >= 44
    items.nth(0).locator("label.rate").nth(4).tap()
    items.nth(1).locator("label.rate").nth(1).tap()
    expect(page.locator("#cast-text")).to_have_text("2 of 3 rated.")
    items.nth(1).get_by_role("button", name="Clear").tap()
    expect(page.locator("#cast-text")).to_have_text("1 of 3 rated.")
    page.reload()  # the ratings survive
    expect(items.nth(0).locator("input:checked")).to_have_value("5")
    page.get_by_role("button", name="Cast my ballot").tap()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    expect(items.nth(0).locator(".mine")).to_have_text(" (your rating: 5)")
    expect(items.nth(0).locator(".share")).to_have_text("5.0")
    page.get_by_role("button", name="Change it").tap()
    items.nth(0).locator("label.rate").nth(0).tap()
    page.get_by_role("button", name="Cast the change").tap()
    expect(page.locator("#cast-title")).to_contain_text("Your changed ballot is in")
    tally = client.tally_when(code, lambda tally: tally["choices"][0]["distribution"][0] == 1)
    assert [choice["answers"] for choice in tally["choices"]] == [1, 0, 0]


def test_by_keyboard_and_for_a_screen_reader(running: Any, visitor: Any) -> None:
    system, client = running
    code = rating(client, "Our conference", config={"style": "nps"})
    page = opened(visitor, f"{system.url}/p/{code}/")
    group = page.get_by_role("group", name="Our conference")
    expect(group.get_by_role("radio")).to_have_count(11)
    expect(group.get_by_role("radio", name="0 (Not at all likely)", exact=True)).to_be_attached()
    group.get_by_role("radio", name="10 (Extremely likely)", exact=True).focus()
    for keys, value in (("3", "3"), ("ArrowRight", "4"), ("1", "1"), ("0", "10"), ("0", "0")):
        page.keyboard.press(keys)
        expect(group.locator("input:checked")).to_have_value(value)
        expect(group.locator("input:focus")).to_have_value(value)
    page.keyboard.press("Delete")
    expect(group.locator("input:checked")).to_have_count(0)
    page.keyboard.press("8")
    page.keyboard.press("Enter")  # submits the form
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    assert client.tally_when(code, lambda tally: tally["ballots"])["choices"][0]["passives"] == 1


def test_the_page_takes_over_another_method(running: Any, visitor: Any) -> None:
    """The organiser changes a draft's method while somebody has its page open."""
    system, client = running
    code = client.make_poll(open=False)
    page = visitor(**PHONE).page
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#status")).to_have_text("Live")
    client.change(code, method="rating", choices=["Talk"], max_selections=1, config={"scale": 7})
    client.step(code, "open")
    expect(page.locator("label.rate")).to_have_count(7)
    page.locator("label.rate").nth(6).tap()
    assert page.locator("label.rate").nth(6).bounding_box()["height"] >= 44  # the style sheet is loaded
    page.get_by_role("button", name="Cast my ballot").tap()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    client.step(code, "close")
    client.tally_when(code, lambda tally: tally["state"] == "closed")
    client.step(code, "reset")
    client.change(code, method="single", choices=["Ant", "Bee"])
    client.step(code, "open")
    expect(page.locator("label.choice")).to_have_count(2)


@pytest.mark.parametrize("screen", ["results", "present"])
def test_the_screens_show_one_items_distribution(running: Any, visitor: Any, screen: str) -> None:
    system, client = running
    code = rating(client, "Keynote", results_visible="always")
    batch(client, code, {"1": 5}, {"1": 4}, {"1": 5}, {"1": 1})
    page = visitor().page
    page.goto(f"{system.url}/p/{code}/{screen}/")
    expect(page.locator("#outcome")).to_have_text("Mean 3.8 of 5 · median 4.5")
    expect(page.locator("li.bar")).to_have_count(5)
    expect(page.locator("li.bar").nth(4)).to_contain_text("50%")
    expect(page.locator("li.bar .bar-label").nth(0)).to_have_text("1 · poor")
    rows = page.locator("#figures tbody tr")
    expect(rows.nth(3)).to_have_text(re.compile(r"^4125\.0%$"))


@pytest.mark.parametrize("screen", ["results", "present"])
def test_the_screens_show_a_score_with_its_sign(running: Any, visitor: Any, screen: str) -> None:
    system, client = running
    code = rating(client, "Our conference", config={"style": "nps"})
    page = visitor().page
    page.goto(f"{system.url}/p/{code}/{screen}/")
    expect(page.locator("#status")).to_have_text("Live")
    batch(client, code, *({"1": value} for value in [0, 2, 6, 7, 8, 9, 9, 3]))
    expect(page.locator("#outcome")).to_have_text("NPS −25 · 25% promoters, 25% passives, 50% detractors")
    expect(page.locator("#figures-note")).to_contain_text("Few answers")


def test_several_items_are_ranked_once_the_poll_is_closed(running: Any, visitor: Any) -> None:
    system, client = running
    code = rating(client, "Talk", "Food", "Coffee")
    batch(client, code, *({"1": 2, "2": 5, "3": 4} for _ in range(5)))
    page = visitor().page
    page.goto(f"{system.url}/p/{code}/results/")
    labels = page.locator("li.bar .bar-label")
    expect(page.locator("li.bar").nth(1)).to_contain_text("5.0")
    expect(labels).to_have_text(["Talk", "Food", "Coffee"])
    client.step(code, "close")
    expect(labels).to_have_text(["Food", "Coffee", "Talk"])
    expect(page.locator("#outcome")).to_have_text("Rated highest: Food")
    page.get_by_role("button", name="Show as a table").click()
    expect(page.locator("#figures thead th")).to_have_text(
        ["Item", "Mean", "Median", "Answers", "1", "2", "3", "4", "5"]
    )


def test_hidden_ratings_reach_no_page(running: Any, visitor: Any) -> None:
    system, client = running
    code = rating(client, "Talk", "Food", results_visible="after_close")
    batch_ = [{"ratings": {"1": 5, "2": 1}, "voter": f"v{n}"} for n in range(6)]
    client.cast_batch(code, batch_)
    page = visitor(**PHONE).page
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda text: frames.append(str(text))))
    page.goto(f"{system.url}/p/{code}/")
    page.locator(".item").nth(0).locator("label.rate").nth(2).tap()
    page.get_by_role("button", name="Cast my ballot").tap()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    expect(page.locator("#totals")).to_have_text("Results show when voting closes.")
    assert frames
    assert not re.search("distribution|mean|answers|median", "".join(frames))
    assert page.locator(".item .share").all_text_contents() == ["", ""]
