"""Vote and watch the results in a real browser: a voter's phone, a projector and a second voter."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.clients import Client, ledger, new_voter
from tests.servers import PATIENCE, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
PROJECTOR = {"viewport": {"width": 1920, "height": 1080}}

#: test_the_main_job runs on every system. Tests of a page alone run on one, since the page is the same
#: everywhere. Tests with a network failure run on Daphne, which has its own WebSocket implementation.
DAPHNE, FULL = ["shared_daphne"], ["shared_full"]


@pytest.fixture(scope="module", params=["shared_embedded", *DAPHNE, *FULL])
def running(request: pytest.FixtureRequest) -> tuple[Any, Client]:
    system = request.getfixturevalue(request.param)
    return system, Client(system)


def choose(page: Any, *labels: str) -> None:
    for label in labels:
        page.locator("label.choice", has_text=label).click()


def cast(page: Any, *labels: str) -> None:
    choose(page, *labels)
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")


def test_the_main_job(running: Any, visitor: Any) -> None:
    """Join by code, vote, see the projector update, close the poll and see the winner."""
    system, client = running
    code = client.make_poll(choices=["Ant", "Bee", "Cat"], revote=True)
    projector, phone = visitor(**PROJECTOR).page, visitor(**PHONE).page

    projector.goto(f"{system.url}/p/{code}/present/")
    expect(projector.locator("#question")).to_have_text("Which act wins?")
    expect(projector.locator(".code")).to_contain_text(code)
    expect(projector.locator(".qr-card svg")).to_be_visible()

    phone.goto(system.url)
    phone.get_by_role("textbox").fill(f" {code.lower()[:3]}-{code.lower()[3:]} ")
    phone.keyboard.press("Enter")
    phone.wait_for_url(f"**/p/{code}/")
    cast(phone, "Bee")
    expect(projector.locator("#ballots b")).to_have_text("1")
    expect(projector.locator("#viewers")).to_have_text("1 watching")  # the projector isn't counted
    expect(projector.locator("li.bar").nth(1)).to_contain_text("100")

    second = new_voter(system.url, code).post(f"/api/v1/polls/{code}/ballots/", json={"selections": [1]})
    assert second.status_code == 202
    expect(projector.locator("#ballots b")).to_have_text("2")
    expect(phone.locator("label.choice", has_text="Ant")).to_contain_text("50")

    # After a reload the page still knows the voter's ballot.
    phone.reload()
    expect(phone.locator("#cast-title")).to_contain_text("Your ballot is in")
    phone.get_by_role("button", name="Change").click()
    choose(phone, "Ant")
    phone.locator("#submit").click()
    expect(projector.locator("li.bar").nth(0)).to_contain_text("100")
    expect(projector.locator("#ballots b")).to_have_text("2")

    client.step(code, "close")
    expect(phone.locator("main")).to_contain_text(re.compile("closed", re.I))
    expect(projector.locator("main")).to_contain_text("Ant")
    tally = client.tally_when(code, lambda tally: tally["state"] == "closed")
    assert (tally["ballots"], tally["winners"]) == (2, [1])
    client.step(code, "publish")
    expect(projector.locator("#outcome")).to_be_visible()
    client.step(code, "reset")
    client.step(code, "open")
    expect(phone.get_by_role("button", name="Cast my ballot")).to_be_visible()
    cast(phone, "Cat")
    expect(projector.locator("#ballots b")).to_have_text("1")


@pytest.mark.parametrize("running", FULL, indirect=True)
def test_a_right_to_left_label_does_not_reorder_the_sentence_around_it(running: Any, visitor: Any) -> None:
    """In the announcement of a tie, the number of ballots must not move between two Hebrew labels."""
    system, client = running
    code = client.make_poll(choices=["אלף", "בית"])
    page = visitor(**PHONE).page
    page.goto(f"{system.url}/p/{code}/results/")
    for label in (1, 2):
        voter = new_voter(system.url, code)
        assert voter.post(f"/api/v1/polls/{code}/ballots/", json={"selections": [label]}).status_code == 202
    said = page.locator("[aria-live]", has_text="אלף")
    expect(said).to_have_text(re.compile("\u2068אלף\u2069.*\u2068בית\u2069.*2 ballots"))


def test_a_ballot_can_be_cast_with_the_keyboard_only(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll(method="multiple", max_selections=2)
    page = visitor().page
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#submit")).not_to_have_attribute("aria-disabled", "true")
    for wanted in ("1", "3"):
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.value") == wanted:
                break
        page.keyboard.press("Space")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "submit":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    tally = client.tally_when(code, lambda tally: tally["ballots"] == 1)
    assert [choice["votes"] for choice in tally["choices"]] == [1, 0, 1]


@pytest.mark.parametrize("running", FULL, indirect=True)
def test_a_live_update_keeps_selection_focus_and_scroll_position(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll(method="multiple", max_selections=3)
    page = visitor(**PHONE).page
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#submit")).not_to_have_attribute("aria-disabled", "true")
    choose(page, "Bee")
    page.locator("#peek").click()  # show the results, so that each update redraws the page
    page.locator("input[value='3']").focus()
    before = page.evaluate(
        "[document.activeElement.value, scrollY, [...document.querySelectorAll('input')].map(i => i.checked)]"
    )
    for number in range(5):
        assert client.cast(code, f"v{number}", [1]).status_code == 202
    client.tally_when(code, lambda tally: tally["ballots"] == 5)
    expect(page.locator("label.choice", has_text="Ant")).to_contain_text("100")
    after = page.evaluate(
        "[document.activeElement.value, scrollY, [...document.querySelectorAll('input')].map(i => i.checked)]"
    )
    assert after == before


@pytest.mark.parametrize("running", DAPHNE, indirect=True)
def test_a_ballot_cast_without_a_network_is_kept_sent_again_and_counts_once(
    running: Any, visitor: Any
) -> None:
    system, client = running
    code = client.make_poll()
    person = visitor(tolerated=("ERR_INTERNET_DISCONNECTED", "WebSocket"), **PHONE)
    page = person.page
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#submit")).not_to_have_attribute("aria-disabled", "true")
    choose(page, "Cat")
    person.context.set_offline(True)
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-text, #cast-more, #cast-title").first).to_be_visible()
    expect(page.locator("#cast")).to_contain_text("Your ballot is kept here")
    assert client.tally(code)["ballots"] == 0
    person.context.set_offline(False)
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    assert client.tally_when(code, lambda tally: tally["ballots"] == 1)["choices"][2]["votes"] == 1


FIGURES = re.compile(r'"(?:votes|ballots|selections|share|version|winners)":\s*(?:[\d\[-]|null)')


SCREENS = ("", "results/", "present/")


def everything_received(person: Any, system: Any, code: str, screens: tuple[str, ...]) -> str:
    """Return every header, page, JSON document and frame that a browser receives on these screens."""
    received: list[str] = []
    page = person.context.new_page()
    texts = ("text/html", "application/json", "text/plain")

    def note(response: Any) -> None:
        received.append(str(response.headers))
        if response.headers.get("content-type", "").startswith(texts):
            received.append(response.text())

    page.on("response", note)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(str(data))))
    for screen in screens:
        page.goto(f"{system.url}/p/{code}/{screen}")
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator("#status")).to_have_text("Live")
    for address in (f"/api/v1/polls/{code}/tally/", f"/api/v1/polls/{code}/voter/", "/metrics", "/readyz"):
        answer = page.request.get(system.url + address)
        received += [str(answer.headers), answer.text()]
    page.close()
    return "\n".join(received)


@pytest.mark.parametrize("running", DAPHNE, indirect=True)
def test_a_browser_receives_no_figure_of_a_hidden_tally(running: Any, visitor: Any) -> None:
    """Search everything that a browser receives for the tally of 37 ballots.

    The last case shows the tally, to prove that the search finds it. tests/realtime/test_embargo.py searches
    the answers of every address.
    """
    system, client = running
    person = visitor()
    shown = {"after_close": SCREENS, "staff": ("results/",), "after_vote": ("",), "always": SCREENS}
    for results_visible, screens in shown.items():
        code = client.make_poll(results_visible=results_visible, choices=["Quince", "Medlar"])
        client.cast_batch(code, [{"selections": [1], "voter": f"v{n}"} for n in range(37)])
        wait_for(lambda code=code: ledger(system, code)["ballots"] == 37, what="37 counted ballots")
        text = everything_received(person, system, code, screens)
        hidden = results_visible != "always"
        assert ('"visible":false' in text) is hidden, results_visible
        assert bool(FIGURES.search(text)) is not hidden, results_visible
        assert bool(re.search(r'":\s*37\b', text)) is not hidden, results_visible


#: JavaScript: whether two boxes overlap.
OVER = """
    const over = (a, b) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1;
"""
#: JavaScript that returns the flaws of the projector's screen: a bar that is too low, a name that is cut off
#: or overlaps its figures, a QR code under a text or off the screen, an outcome of more than two lines.
STAGE_FLAWS = (
    f"""() => {{{OVER}"""
    + """
    const box = (node) => node.getBoundingClientRect();
    const all = (selector) => [...document.querySelectorAll(selector)].filter((node) => box(node).height > 0);
    const [qr] = all(".qr-card").map(box);
    const flaws = [];
    if (qr.right > innerWidth || qr.bottom > innerHeight || qr.width < innerHeight / 4) flaws.push("QR");
    for (const node of all("#question, .stage-line > *, .bar, .stage-note, .stage-counts")) {
        if (over(box(node), qr) || box(node).bottom > innerHeight) flaws.push(node.id || node.className);
    }
    const [outcome] = all("#outcome");
    const line = parseFloat(getComputedStyle(outcome).lineHeight);
    if (box(outcome).height > 2.2 * line) flaws.push("outcome");
    const rows = all(".bar");
    for (const row of rows) {
        const [label, track, value] = [...row.children];
        if (box(track).height < innerHeight / 80) flaws.push("low bar");
        if (label.scrollHeight > label.clientHeight + 2) flaws.push(`cut: ${label.textContent}`);
        if (over(box(label), box(value)) || over(box(label), box(track))) flaws.push("over its figures");
        if (rows.some((other) => other !== row && over(box(other), box(row)))) flaws.push("rows");
    }
    return flaws;
}"""
)
MANY_WORDS = (
    "a proposal to extend the opening hours of the library on evenings and weekends from the year to come"
)
STAGES = {
    "names": [f"{first}-Theresia {last}" for first in ("Anna", "Maria", "Zsófia") for last in "ABCDEFGHIJKL"],
    "long": [f"Option {letter}: {MANY_WORDS} {MANY_WORDS[:60]}" for letter in "ABCDEFGHIJKL"],
    "alike": [f"Resolution on the budget of the year 2027, item {n}" for n in range(1, 41)],
}


def flaws_of(page: Any, script: str) -> list[str]:
    """Return the page's flaws once its layout has settled, some frames after the window was resized."""
    deadline = time.monotonic() + PATIENCE
    while (flaws := page.evaluate(script)) and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    return flaws


@pytest.mark.parametrize("running", FULL, indirect=True)
@pytest.mark.parametrize("stage", STAGES)
def test_the_projector_stays_readable_with_many_or_long_choices(
    running: Any, visitor: Any, stage: str
) -> None:
    """All choices are tied. The window has the size of a projector, a laptop and an old projector."""
    system, client = running
    labels = STAGES[stage]
    code = client.make_poll(choices=labels)
    client.cast_batch(code, [{"selections": [n + 1], "voter": f"v{n}"} for n in range(len(labels))])
    client.tally_when(code, lambda tally: tally["ballots"] == len(labels))
    client.step(code, "close")
    client.tally_when(code, lambda tally: tally["state"] == "closed")
    page = visitor(**PROJECTOR).page
    page.goto(f"{system.url}/p/{code}/present/")
    expect(page.locator("#outcome")).to_contain_text("more")
    expect(page.locator("#announcer")).to_contain_text("Final result")
    assert len(page.locator("#announcer").inner_text()) <= 300
    for width, height in ((1920, 1080), (1280, 720), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        assert flaws_of(page, STAGE_FLAWS) == []
        shown = page.locator(".bar:not([hidden])").count()
        assert (shown == len(labels)) is page.locator("#part").is_hidden()
    # H is held down on a Cyrillic keyboard: the results are hidden and don't flicker.
    held = """(repeat) => document.dispatchEvent(
        new KeyboardEvent("keydown", { key: "р", code: "KeyH", repeat, cancelable: true }))"""
    for repeat in (False, True, True, True):
        page.evaluate(held, repeat)
    expect(page.locator("#outcome")).to_be_hidden()
    expect(page.locator("#why")).to_contain_text("hidden")
    page.keyboard.press("h")
    expect(page.locator("#outcome")).to_be_visible()
    # The note that says which choices are shown must have the same height for every text. Otherwise the
    # number of choices that fit and the note's height would keep changing each other.
    page.set_viewport_size(PHONE["viewport"])
    expect(page.locator("#part")).to_be_visible()
    heights = """(part) => [part.textContent, "3 of 99"].map((words) => {
        part.textContent = words;
        return part.parentElement.offsetHeight;
    })"""
    long, short = page.locator("#part").evaluate(heights)
    assert long == short > 0


#: JavaScript that returns the flaws of a printed page.
PAPER_FLAWS = (
    f"""() => {{{OVER}"""
    + """
    const seen = (node) => node && node.getBoundingClientRect().height > 0;
    const flaws = [];
    const printed = document.querySelector(".printed");
    if (!seen(printed)) flaws.push("nothing says where it is from");
    if (!/\\b20\\d\\d\\b/.test(document.getElementById("printed").textContent)) flaws.push("no date");
    const ink = getComputedStyle(document.querySelector("h1")).color.match(/\\d+/g).map(Number);
    if (Math.max(...ink) > 80) flaws.push(`pale ink: ${ink}`);
    for (const bar of document.querySelectorAll(".bar")) {
        const [label, track, value] = [...bar.children];
        const boxes = [label, track, value].map((node) => node.getBoundingClientRect());
        if (!boxes.every((box) => box.height > 0)) flaws.push(`not there: ${label.textContent}`);
        if (over(boxes[0], boxes[2]) || over(boxes[1], boxes[2])) flaws.push(`over: ${label.textContent}`);
        if (getComputedStyle(track.firstElementChild).printColorAdjust !== "exact") flaws.push("no bar");
    }
    if ([...document.querySelectorAll("button")].some(seen)) flaws.push("buttons");
    return flaws;
}"""
)


@pytest.mark.parametrize("running", FULL, indirect=True)
def test_a_printed_page_shows_every_choice_its_date_and_its_address(running: Any, visitor: Any) -> None:
    system, client = running
    labels = [f"Choice {n}" for n in range(1, 98)] + [f"{MANY_WORDS} {n} {MANY_WORDS[:60]}" for n in "AB"]
    code = client.make_poll(choices=labels)
    client.cast_batch(code, [{"selections": [n], "voter": f"v{n}"} for n in (1, 99)])
    client.tally_when(code, lambda tally: tally["ballots"] == 2)
    page = visitor(**PROJECTOR).page
    for screen in ("present/", "results/", "", "receipt/"):
        page.goto(f"{system.url}/p/{code}/{screen}")
        page.evaluate("localStorage.setItem('landslide.theme', 'dark')")
        page.reload()
        if screen in ("present/", "results/"):
            expect(page.locator(".bar").first).to_contain_text("50%")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert flaws_of(page, PAPER_FLAWS) == [], screen
        expect(page.locator(".printed")).to_contain_text(f"{system.url}/p/{code}/")
        if screen == "present/":
            expect(page.locator(".bar-label")).to_have_text(labels)
        page.emulate_media(media="screen")
