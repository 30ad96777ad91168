"""The pages' scripts by themselves, in a real browser and without a server."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.share_cases import CASES
from tests.system import ROOT

pytestmark = pytest.mark.full_only

SITE = "http://localhost/"
KINDS = {".js": "text/javascript", ".css": "text/css"}


@pytest.fixture(scope="module")
def scripts(chromium: Any) -> Iterator[Callable[..., Any]]:
    """scripts("shares.js", "(shares, value) => …", value): call a function with a module of static/js."""
    from polls import texts
    from realtime.texts import PRESENT

    page = chromium.new_page(locale="en-GB")
    said = json.dumps(texts.catalogue(texts.COMMON, PRESENT))
    blank = f'<!doctype html><html lang="en"><script type="application/json" id="texts">{said}</script>'

    def serve(route: Any) -> None:
        name = route.request.url.removeprefix(SITE)
        file = ROOT / "static" / name
        if name and file.is_file():
            route.fulfill(body=file.read_bytes(), content_type=KINDS[Path(name).suffix])
        else:
            route.fulfill(body=blank, content_type="text/html")

    page.route("**/*", serve)
    page.goto(SITE)

    def call(module: str, function: str, argument: Any = None) -> Any:
        body = f"async (given) => ({function})(await import('/js/{module}'), given)"
        return page.evaluate(body, argument)

    yield call
    page.close()


def tally(votes: list[int], ballots: int | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"number": n, "label": f"Choice {n}", "votes": each} for n, each in enumerate(votes, 1)]
    ballots = sum(votes) if ballots is None else ballots
    facts = {"state": "open", "visible": True, "max_selections": 1, "selections": sum(votes)}
    return {**facts, "ballots": ballots, "choices": choices, **more}


def test_the_pages_say_shares_as_the_server_does(scripts: Callable[..., Any]) -> None:
    say = """({ shares }, all) =>
        all.map(([tally, least]) => tally.choices.map(({ votes }) => shares(tally, least).of(votes)))"""
    asked = [[tally(votes, ballots), least] for votes, ballots, least, _ in CASES]
    assert scripts("texts.js", say, asked) == [shown for *_, shown in CASES]


@pytest.mark.parametrize(
    ("votes", "note"),
    [([1, 1, 1], True), ([1] * 7, True), ([1, 3], False), ([20_000, 1], False), ([0, 0], False)],
)
def test_shares_that_dont_add_up_are_noted(scripts: Callable[..., Any], votes: list[int], note: bool) -> None:
    said = scripts("words.js", "({ base }, tally) => base(tally)", tally(votes))
    assert bool(re.search("rounded", said)) is note


@pytest.mark.parametrize(
    ("key", "code", "shift", "meant"),
    [
        ("f", "KeyF", False, "f"),
        ("H", "KeyH", True, "h"),
        ("а", "KeyF", False, "f"),  # Cyrillic
        ("τ", "KeyT", False, "t"),  # Greek
        ("צ", "KeyM", False, "m"),  # Hebrew
        ("ا", "KeyH", False, "h"),  # Arabic
        ("Process", "KeyF", False, "f"),  # Korean, while its input method is on
        ("؟", "Slash", True, "?"),
        ("?", "Digit7", True, "?"),
        ("m", "Semicolon", False, "m"),  # French: what is printed on the key counts
        (",", "KeyM", False, ","),
        ("Escape", "Escape", False, "Escape"),
    ],
)
def test_a_key_means_the_same_on_every_keyboard(
    scripts: Callable[..., Any], key: str, code: str, shift: bool, meant: str
) -> None:
    event = {"key": key, "code": code, "shiftKey": shift}
    assert scripts("keys.js", "({ keyOf }, event) => keyOf(event)", event) == meant


FLAPPING = """({ showStatus }) => {
    const [pill, said] = ["status", "status-said"].map((id) => {
        const node = document.body.appendChild(document.createElement("span"));
        node.id = id;
        return node;
    });
    const [realTimeout, realNow] = [window.setTimeout, performance.now];
    let [time, timers, heard] = [0, [], []];
    window.setTimeout = (call, wait) => timers.push({ call, at: time + wait });
    performance.now = () => time;
    try {
        for (; time <= 40000; time += 500) {
            showStatus(pill, time % 1000 ? "reconnecting" : "live");
            for (const timer of timers.splice(0)) timer.at <= time ? timer.call() : timers.push(timer);
            if (said.textContent !== (heard.at(-1) ?? "")) heard.push(said.textContent);
        }
    } finally {
        [window.setTimeout, performance.now] = [realTimeout, realNow];
        pill.remove();
        said.remove();
    }
    return heard;
}"""


def test_a_flapping_network_is_said_at_most_once_in_ten_seconds(scripts: Callable[..., Any]) -> None:
    heard = scripts("status.js", FLAPPING)
    assert 1 <= len(heard) <= 5
