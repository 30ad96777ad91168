"""The voter's page and the screens in unusual browsers and networks.

Languages that Intl refuses, clocks that are changed, page translators, connections that fall silent.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser import wait_until
from tests.e2e.clients import Client

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
SCREENS = ("", "results/", "present/")


@pytest.fixture(scope="module")
def running(shared_embedded: Any) -> tuple[Any, Client]:
    return shared_embedded, Client(shared_embedded)


def soon(**later: int) -> str:
    return (datetime.now(UTC) + timedelta(**later)).isoformat()


# --- unusual browsers ---


@pytest.mark.parametrize("languages", [["en-US@posix", "en"], ["en-US.UTF-8"], ["en_US", "*", ""], []])
def test_voting_works_with_a_language_that_intl_refuses(
    running: Any, visitor: Any, languages: list[str]
) -> None:
    system, client = running
    code = client.make_poll()
    page = visitor(**PHONE).page
    page.add_init_script(
        f"Object.defineProperty(navigator, 'languages', {{get: () => {json.dumps(languages)}}})"
    )
    page.goto(f"{system.url}/p/{code}/")
    page.locator("label.choice", has_text="Bee").click()
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-title")).to_have_text("Your ballot is in")


#: Translate the page as Chromium does: replace each text node by a <font>, except under translate="no".
TRANSLATE = """() => {
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  const isFree = (text) => text.data.trim() && !text.parentElement.closest("[translate=no]");
  for (const text of texts.filter(isFree)) {
    const font = document.createElement("font");
    font.textContent = "Übersetzt";
    text.replaceWith(font);
  }
}"""


@pytest.mark.parametrize("screen", SCREENS)
def test_a_translated_page_stays_translated_while_it_counts_down(
    running: Any, visitor: Any, screen: str
) -> None:
    system, client = running
    code = client.make_poll(closes_at=soon(minutes=40))
    page = visitor().page
    page.goto(f"{system.url}/p/{code}/{screen}")
    moving = page.locator("main [translate=no]", has_text=re.compile(r"^\d+:\d\d$"))
    expect(moving).to_be_visible()
    expect(page.locator("#status")).to_have_text("Live")
    page.evaluate(TRANSLATE)
    shown = moving.inner_text()
    for _ in range(2):
        expect(moving).not_to_have_text(shown)
        shown = moving.inner_text()
    expect(page.locator("#question")).to_have_text("Übersetzt")
    expect(page.locator("#rule" if not screen else "#state")).to_contain_text(
        re.compile(r"^Übersetzt.*\d+:\d\d$")
    )
    if screen == "present/":
        expect(page.locator(".code")).to_contain_text(code)


def test_a_changed_clock_does_not_change_the_countdown_but_asks_the_server_again(
    running: Any, visitor: Any
) -> None:
    system, client = running
    code = client.make_poll(closes_at=soon(minutes=5))
    page = visitor().page
    page.goto(f"{system.url}/p/{code}/results/")
    expect(page.locator("#state")).to_contain_text(re.compile(r"Closes in 4:\d\d"))
    page.clock.install()
    with page.expect_request(lambda request: request.method == "HEAD"):
        page.evaluate("Date.now = ((real) => () => real() + 420_000)(Date.now)")
        page.clock.run_for(20_000)  # the page asks at most every fifteen seconds
    expect(page.locator("#state")).to_contain_text(re.compile(r"Closes in [34]:\d\d"))


@pytest.mark.parametrize(
    ("moment", "wanted"),
    [
        ({"minute": 30}, r"^Closes at 11:30.PM GMT\+1$"),
        ({"month": 12, "day": 24}, r"^Closes on December 24 at 11:00.PM GMT\+1$"),
        ({"year": 2031, "month": 7}, r"^Closes on July 5, 2031 at 11:00.PM GMT\+2$"),
    ],
)
def test_times_name_their_zone_and_another_year(
    running: Any, visitor: Any, moment: dict[str, int], wanted: str
) -> None:
    """The fake clock says that it is 9:00 on 5 November 2030 in Berlin."""
    system, client = running
    closes = datetime(2030, 11, 5, 22, tzinfo=UTC).replace(**moment)
    if closes.month == 7:
        closes -= timedelta(hours=1)  # summer time
    code = client.make_poll(closes_at=closes.isoformat())
    page = visitor(tolerated=("503",), locale="en-US", timezone_id="Europe/Berlin").page
    page.clock.install(time="2030-11-05T08:00:00Z")
    page.route("**/api/**", lambda route: route.fulfill(status=503, body=""))
    page.route_web_socket("**/ws/**", lambda _: None)
    page.goto(f"{system.url}/p/{code}/results/")
    expect(page.locator("#state")).to_have_text(re.compile(wanted))


# --- kept selections and ballots ---


def choose(page: Any, *labels: str) -> None:
    for label in labels:
        page.locator("label.choice", has_text=label).click()


def cast(page: Any) -> None:
    page.locator("#submit").click()
    expect(page.locator("#cast-title")).to_have_text(re.compile("ballot is (in|set aside for review)$"))


def test_a_selection_survives_a_reload_until_it_is_cast_or_the_round_ends(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll(method="multiple", max_selections=2, revote=True)
    page = visitor(**PHONE).page
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#cast-text")).to_have_text("Nothing chosen yet.")
    choose(page, "Bee", "Cat")
    page.reload()
    expect(page.locator("#cast-text")).to_have_text("Your choices are still here. They aren't cast yet.")
    expect(page.locator("input:checked")).to_have_count(2)
    cast(page)
    page.reload()
    expect(page.locator("#cast-title")).to_have_text("Your ballot is in")

    page.get_by_role("button", name="Change it").click()
    choose(page, "Cat")
    page.reload()
    expect(page.get_by_role("button", name="Cast the change")).to_be_visible()
    expect(page.locator("input:checked")).to_have_count(1)

    client.step(code, "close")
    client.tally_when(code, lambda tally: tally["state"] == "closed")
    for step in ("reset", "open"):
        client.step(code, step)
    expect(page.locator("#cast-text")).to_have_text("The poll was restarted. You can vote again.")
    page.reload()
    expect(page.locator("#cast-text")).to_have_text("Nothing chosen yet.")


#: Pages wait a random time before some requests, to spread the load. With this script they don't wait.
AT_ONCE = "Math.random = () => 0"


def test_a_quarantined_ballot_is_never_called_a_part_of_the_result(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    page = visitor(**PHONE).page
    page.add_init_script(AT_ONCE)
    standing = {"reason": "A bot from a forum", "from_now_on": True}
    assert client.http.post(f"/api/v1/polls/{code}/quarantines/", json=standing).status_code == 201
    page.goto(f"{system.url}/p/{code}/")
    choose(page, "Bee")
    cast(page)
    client.cast_batch(code, [{"selections": [3], "voter": f"v{n}"} for n in range(11)])
    client.tally_when(code, lambda tally: tally.get("quarantined", {}).get("ballots") == 12)
    page.reload()
    title, words = page.locator("#cast-title"), page.locator("#cast-text")
    for state in ("", "close", "publish"):
        if state:
            client.step(code, state)
            expect(page.locator("#rule")).to_contain_text("Voting closed at")
        expect(title).to_have_text("Your ballot is set aside for review")
        expect(words).not_to_contain_text("It is part of the result")
    expect(page.locator("#totals")).to_contain_text("Cat 11 · Bee 1. If they were released, Cat would win.")
    page.goto(f"{system.url}/p/{code}/results/")
    expect(page.get_by_role("row", name="Cat")).to_contain_text("11")
    expect(page.get_by_role("columnheader", name="Set aside")).to_have_count(1)


def test_a_counted_ballot_is_a_part_of_the_result_once_the_server_says_so(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll(release_step=20)
    page = visitor(**PHONE).page
    page.add_init_script(AT_ONCE)
    page.goto(f"{system.url}/p/{code}/")
    choose(page, "Bee")
    cast(page)
    expect(page.locator("#totals")).to_have_text("Results appear in steps of 20 ballots.")
    client.step(code, "close")
    expect(page.locator("#cast-text")).to_have_text("It is part of the result.")


# --- large text and low windows ---

FOCUSED = """() => {
  const card = document.activeElement.closest(".choice");
  const bar = document.getElementById("cast");
  const [{ top, bottom, height }, { top: barTop }] = [card, bar].map((node) => node.getBoundingClientRect());
  const covered = getComputedStyle(bar).position === "sticky" && bottom > barTop;
  const label = card.querySelector(".words");
  return {
    hidden: covered || (height < 0.85 * innerHeight && (top < -1 || bottom > innerHeight + 1)),
    letters: label.clientWidth / parseFloat(getComputedStyle(label).fontSize),
    sideways: document.documentElement.scrollWidth - innerWidth,
  };
}"""


@pytest.mark.parametrize(
    ("width", "height", "text"), [(1280, 720, 100), (320, 256, 100), (390, 844, 200), (320, 568, 200)]
)
def test_the_focused_choice_is_visible_and_its_label_has_room(
    running: Any, visitor: Any, width: int, height: int, text: int
) -> None:
    system, client = running
    labels = [f"Choice {n} {'with a longer label ' * (n % 4)}" for n in range(20)]
    code = client.make_poll(method="multiple", max_selections=2, choices=labels)
    client.cast(code, "ann", [1])
    page = visitor(viewport={"width": width, "height": height}).page
    page.goto(f"{system.url}/p/{code}/")
    page.evaluate(f"document.documentElement.style.fontSize = '{text}%'")
    expect(page.locator("#cast-text")).to_have_text("Nothing chosen yet.")
    page.locator("#peek").click()
    expect(page.locator("label.choice").first).to_contain_text("100")
    page.locator("input[name=selection]").first.focus()

    def seen() -> bool:
        found = page.evaluate(FOCUSED)
        return not found["hidden"] and found["sideways"] <= 0 and found["letters"] >= 4

    for key in ["Tab"] * 19 + ["Shift+Tab"] * 19:
        page.keyboard.press(key)
        wait_until(page, seen, "the focused choice to be visible")


# --- silent connections ---

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
NEVER_ANSWERED = (
    "window.WebSocket = class extends EventTarget { static OPEN = 1; readyState = 0; close() {} }"
)


def figures_of(page: Any) -> Any:
    return page.locator("table.figures tbody tr", has_text="Ant").locator("td").first


@pytest.mark.parametrize(("screen", "upgrade"), [("results/", "silent"), ("present/", "never answered")])
def test_without_frames_the_page_polls_the_tally_endpoint(
    running: Any, visitor: Any, screen: str, upgrade: str
) -> None:
    system, client = running
    code = client.make_poll()
    client.cast(code, "ann", [1])
    page = visitor().page
    page.clock.install()
    if upgrade == "silent":
        page.route_web_socket("**/ws/**", lambda _: None)
    else:
        page.add_init_script(NEVER_ANSWERED)
    page.goto(f"{system.url}/p/{code}/{screen}")
    page.clock.run_for(5_000)
    expect(figures_of(page)).to_have_text("1")
    expect(page.locator("#status")).to_have_text("Live")
    client.cast(code, "bert", [1])
    page.clock.run_for(15_000)
    expect(figures_of(page)).to_have_text("2")
    expect(page.locator("#status")).to_have_text("Live")


def test_a_dead_connection_of_a_hidden_page_is_noticed_when_the_page_is_shown(
    running: Any, visitor: Any
) -> None:
    system, client = running
    code = client.make_poll()
    person = visitor()
    page, cut, said = person.page, [], []

    def pass_on(socket: Any) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: said.append(message) or cut or server.send(message))
        server.on_message(lambda message: cut or socket.send(message))

    page.route_web_socket("**/ws/**", pass_on)
    page.clock.install()
    page.goto(f"{system.url}/p/{code}/results/")
    expect(page.locator("#status")).to_have_text("Live")

    # A live connection answers the ping.
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    page.clock.run_for(1_000)
    client.cast(code, "ann", [1])
    expect(figures_of(page)).to_have_text("1")
    expect(page.locator("#status")).to_have_text("Live")
    assert set(said) == {'{"type":"ping"}'}

    cut.append(True)
    page.evaluate(HIDE, True)
    asked: list[str] = []
    page.on("request", lambda request: "/tally/" in request.url and asked.append(request.url))
    page.clock.run_for(120_000)
    assert not asked  # a hidden page doesn't poll
    client.cast(code, "bert", [1])
    held: list[Any] = []
    holding = [True]  # until the endpoint answers, nothing shows that the connection is alive
    page.route("**/tally/", lambda route: held.append(route) if holding else route.continue_())
    page.evaluate(HIDE, False)
    expect(page.locator("#status")).not_to_have_text("Live")
    holding.clear()  # not unroute(): after that, Chromium may continue the held requests by itself
    for route in held:
        route.continue_()
    page.clock.run_for(10_000)
    expect(figures_of(page)).to_have_text("2")
    expect(page.locator("#status")).to_have_text("Live")


def test_a_fresh_dead_connection_is_noticed_within_five_seconds_of_showing_the_page(
    running: Any, visitor: Any
) -> None:
    system, client = running
    code = client.make_poll()
    page, cut = visitor(tolerated=("ERR_FAILED",)).page, []

    def pass_on(socket: Any) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: cut or socket.send(message))

    page.route_web_socket("**/ws/**", pass_on)
    page.route("**/tally/", lambda route: route.abort() if cut else route.continue_())
    page.clock.install()
    page.goto(f"{system.url}/p/{code}/results/")
    expect(page.locator("#status")).to_have_text("Live")
    # From here on, the page's clock moves only when the test moves it.
    page.clock.pause_at(page.evaluate("Date.now()") + 600_000)
    client.cast(code, "ann", [1])

    def heard() -> bool:
        page.clock.run_for(1_000)
        return bool(figures_of(page).inner_text() == "1" and page.locator("#status").inner_text() == "Live")

    wait_until(page, heard, "a frame")
    cut.append(True)
    page.evaluate(HIDE, True)
    page.clock.run_for(3_000)
    page.evaluate(HIDE, False)
    page.clock.run_for(5_000)
    # Without the check on showing the page, it would be noticed after twenty seconds.
    expect(page.locator("#status")).to_have_text("Reconnecting")
