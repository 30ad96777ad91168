"""The pages' scripts by themselves, in a real browser and without a server."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.polls.public_pages import SCRIPTS
from tests.share_cases import CASES
from tests.system import ROOT

pytestmark = pytest.mark.full_only

SITE = "http://localhost/"
KINDS = {".js": "text/javascript", ".css": "text/css"}


@pytest.fixture(scope="module")
def scripts(chromium: Any) -> Iterator[Callable[..., Any]]:
    """scripts("text/shares.js", "(shares, value) => …", value): call a function with a module."""
    from polls.pages import script_messages
    from realtime.pages.script_messages import PRESENT

    page = chromium.new_page(locale="en-GB")
    said = json.dumps(script_messages.catalogue(script_messages.COMMON, script_messages.VOTE, PRESENT))
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


#: As in static/js/README.md: a folder imports from those behind it.
FOLDERS = ["vote", "screens", "admin", "proof", "page", "text", "live"]


def test_folders_of_scripts_import_from_those_below_them() -> None:
    pages = {"vote", "screens", "admin"}
    for path in SCRIPTS.rglob("*.js"):
        folder = path.parent.name
        for other in re.findall(r'from "\.\./(\w+)/', path.read_text()):
            below = FOLDERS.index(other) > FOLDERS.index(folder) and other not in pages
            assert below, f"{path.name} imports from {other}/"


def tally(votes: list[int], ballots: int | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"number": n, "label": f"Choice {n}", "votes": each} for n, each in enumerate(votes, 1)]
    ballots = sum(votes) if ballots is None else ballots
    facts = {"state": "open", "visible": True, "max_selections": 1, "selections": sum(votes)}
    return {**facts, "ballots": ballots, "choices": choices, **more}


def test_the_pages_say_shares_as_the_server_does(scripts: Callable[..., Any]) -> None:
    say = """({ shares }, all) =>
        all.map(([tally, least]) => tally.choices.map(({ votes }) => shares(tally, least).of(votes)))"""
    asked = [[tally(votes, ballots), least] for votes, ballots, least, _ in CASES]
    assert scripts("text/texts.js", say, asked) == [shown for *_, shown in CASES]


@pytest.mark.parametrize(
    ("votes", "note"),
    [([1, 1, 1], True), ([1] * 7, True), ([1, 3], False), ([20_000, 1], False), ([0, 0], False)],
)
def test_shares_that_dont_add_up_are_noted(scripts: Callable[..., Any], votes: list[int], note: bool) -> None:
    said = scripts("text/sentences.js", "({ figuresNote }, tally) => figuresNote(tally)", tally(votes))
    assert bool(re.search("rounded", said)) is note


APART = {"ballots": 12, "choices": [{"number": 1, "votes": 3}, {"number": 2, "votes": 9}], "reasons": 1}


@pytest.mark.parametrize(
    ("apart", "said"),
    [
        (None, ""),
        (APART, "12 ballots set aside for review: Choice 2 9 · Choice 1 3."),
        (APART | {"winners_if_released": [1]}, "12 ballots set aside for review: Choice 2 9 · Choice 1 3."),
        (
            APART | {"winners_if_released": [2]},
            "12 ballots set aside for review: Choice 2 9 · Choice 1 3. With them Choice 2 would win.",
        ),
        (
            APART | {"choices": [{"number": 1, "votes": 0}], "winners_if_released": [1, 2]},
            "12 ballots set aside for review. With them Choice 1 and Choice 2 would tie.",
        ),
        (
            {"ballots": 1, "withheld": True, "reasons": 1},
            "1 ballot set aside for review. What they mark is not shown: it would tell too much of single"
            " ballots.",
        ),
    ],
)
def test_the_second_tally_is_said_and_what_it_would_change(
    scripts: Callable[..., Any], apart: Any, said: str
) -> None:
    final = tally([5, 2], state="closed", winners=[1], **({"quarantined": apart} if apart else {}))
    assert scripts("text/sentences.js", "({ quarantineText }, tally) => quarantineText(tally)", final) == said


STEPS = "Results appear in steps of 20 ballots."


@pytest.mark.parametrize(
    ("votes", "state", "step", "said"),
    [
        ([0, 0], "open", 1, ["0 ballots", "No ballots yet.", ""]),
        ([0, 0], "closed", 1, ["0 ballots", "No ballots are counted.", ""]),
        ([0, 0], "open", 20, ["", "", STEPS]),
        ([10, 30], "closing", 20, ["40 ballots", "", STEPS]),
        ([1, 20], "closed", 20, ["21 ballots", "", ""]),
    ],
)
def test_where_ballots_are_held_back_nobody_says_that_there_are_none(
    scripts: Callable[..., Any], votes: list[int], state: str, step: int, said: list[str]
) -> None:
    say = """({ totalsText, noBallotsText, figuresNote }, tally) =>
        [totalsText(tally), noBallotsText(tally), figuresNote(tally)]"""
    assert scripts("text/sentences.js", say, tally(votes, state=state, release_step=step)) == said


BALLOT_TEXTS = """({ ballotTexts }, [status, over, invited]) => {
    const { title, words } = ballotTexts(status, { over, invited, changed: false });
    return [title, words];
}"""


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("invited", [False, True])
@pytest.mark.parametrize(
    ("status", "title"),
    [
        ("quarantined", "Your ballot is set aside for review"),
        ("rejected", "Your ballot was rejected"),
        ("replaced", "A later ballot of yours took its place"),
        ("unknown", "The server doesn't know your ballot"),
        ("counted", None),
        ("accepted", None),
        (None, None),
    ],
)
def test_a_voter_is_told_what_became_of_the_ballot_and_nothing_else(
    scripts: Callable[..., Any], status: str, title: str, over: bool, invited: bool
) -> None:
    said = scripts("vote/cast-texts.js", BALLOT_TEXTS, [status, over, invited])
    assert said[0] == title or (title is None and said[0].endswith("ballot is in"))
    assert ("part of the result." in said[1]) is (status == "counted" and over)


STATUS_WAITS = """({ ReceiptStatus }) => {
    let now = 1000;
    const waits = [];
    const real = [setTimeout, Math.random];
    window.setTimeout = (_, wait) => waits.push(wait);
    Math.random = () => 0.999;
    performance.now = () => now;
    const status = new ReceiptStatus({ root: "/", onStatus() {} });
    status.follow("receipt", "open 0");
    now += 2000;
    status.follow("receipt", "open 1"); // the tally is there, and tells of a decision
    now += 60000;
    status.follow("receipt", "closed 1"); // a whole hall asks
    [window.setTimeout, Math.random] = real;
    delete performance.now;
    return waits;
}"""


def test_a_page_that_was_just_opened_asks_at_once_and_a_hall_over_half_a_minute(
    scripts: Callable[..., Any],
) -> None:
    assert scripts("vote/receipt-status.js", STATUS_WAITS) == [999, 999, 29970]


COUNTDOWN = """({ setTextWithCountdown }) => {
    const node = document.createElement("p");
    const said = [];
    for (const time of ["0:03", "0:02", "0:01"]) {
        setTextWithCountdown(node, `Closes in ${time}`, time);
        said.push(node.textContent);
        node.firstChild.textContent = "Schließt in ";
        if (time === "0:02") node.innerHTML = "Schließt in 0:02"; // all of it
    }
    return said;
}"""


def test_a_countdown_goes_on_whatever_a_translator_leaves_of_it(scripts: Callable[..., Any]) -> None:
    assert scripts("page/set-text.js", COUNTDOWN) == ["Closes in 0:03", "Schließt in 0:02", "Closes in 0:01"]


TOKEN = "AAAAAQAAAAEz-_wq3m4t5v6x7y8zABCD"
LINK = f"https://vote.example.org/p/K7MDXA/#i={TOKEN}"


@pytest.mark.parametrize(
    ("pasted", "found"),
    [
        (TOKEN, {"token": TOKEN}),
        (f"  {LINK}\n", {"token": TOKEN}),
        (f"<{LINK}>.", {"token": TOKEN}),
        (f"#i={TOKEN}", {"token": TOKEN}),
        (f"i={TOKEN}", {"token": TOKEN}),
        (LINK.replace("#i=", "%23i%3D"), {"token": TOKEN}),
        (f"{LINK[:60]}\r\n{LINK[60:]}", {"token": TOKEN}),
        (f"{LINK}&utm_source=mail", {"token": TOKEN}),
        (
            f"https://safe.example/?url=https%3A%2F%2Fv.example%2Fp%2Fk7m-dxa%2F%2523i%3D{TOKEN}&x=1",
            {"token": TOKEN},
        ),
        ("", {"problem": "inviteNone"}),
        (" \u200b ", {"problem": "inviteNone"}),
        ("https://vote.example.org/p/K7MDXA/", {"problem": "inviteLost"}),
        ("https://vote.example.org/p/K7MDXA/#i=", {"problem": "inviteLost"}),
        (LINK.replace("K7MDXA", "WXY346"), {"problem": "inviteElsewhere", "poll": "WXY346"}),
        (LINK[:-1], {"problem": "inviteLength", "count": 31}),
        ("K7MDXA", {"problem": "inviteLength", "count": 6}),
        ("ask Zoë", {"problem": "inviteNotOne"}),
    ],
)
def test_an_invite_is_read_as_mail_programs_leave_it(
    scripts: Callable[..., Any], pasted: str, found: dict[str, Any]
) -> None:
    assert (
        scripts("vote/invite.js", "({ readInvite }, pasted) => readInvite(pasted, 'K7MDXA')", pasted) == found
    )


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
    assert scripts("screens/keyboard.js", "({ shortcutOf }, event) => shortcutOf(event)", event) == meant


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
    heard = scripts("page/connection-status.js", FLAPPING)
    assert 1 <= len(heard) <= 5


SHORTEN = "({ shorten }, [labels, longest]) => shorten(labels, longest)"
RESOLUTIONS = [f"Resolution on the budget of the year 2027, item {n}" for n in range(1, 41)]


@pytest.mark.parametrize(
    ("labels", "longest", "short"),
    [
        (["Tea", "Coffee"], 3, ["Tea", "Co…"]),
        (["Tea", "Coffee"], 40, ["Tea", "Coffee"]),
        (RESOLUTIONS[:2], 20, ["Resolution on the…1", "Resolution on the…2"]),
        (["The red one", "The reddest one"], 8, ["Th…red…", "Th…redd…"]),
        (["Family 👨‍👩‍👧 Ng", "Couple 👩‍👩 Ng"], 9, ["Family 👨‍👩‍👧…", "Couple 👩‍👩…"]),
    ],
)
def test_labels_that_are_cut(
    scripts: Callable[..., Any], labels: list[str], longest: int, short: list[str]
) -> None:
    assert scripts("text/shorten.js", SHORTEN, [labels, longest]) == short


def test_labels_that_begin_alike_are_told_apart(scripts: Callable[..., Any]) -> None:
    grid = [f"{a * 60} {b * 60} end" for a in "xy" for b in "vw"]
    for labels in (
        RESOLUTIONS,
        grid,
        [label + "." * 100 for label in RESOLUTIONS],
        ["ab" * 50 + "c", "ab" * 50],
    ):
        for longest in (8, 12, 24, 40):
            short = scripts("text/shorten.js", SHORTEN, [labels, longest])
            assert len(set(short)) == len(labels), short


#: A projector's box for the bars, and a laptop's at 4:3.
BOXES = [
    {"width": 1378, "height": 690, "least": 25, "most": 47, "gap": 43},
    {"width": 700, "height": 430, "least": 17.7, "most": 34, "gap": 31},
]
NAMES = ["Anna Papadopoulos", "Maria-Theresia Jørgensen", "Xavier Fernández-García", "Ingrid Ng"] * 9
ARRANGE = """({ arrangeBars, measureLabels }, [labels, box, starred]) =>
    arrangeBars(measureLabels(labels, (words) => words.length * 0.56), { ...box, figures: 6, starred })"""


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("count", [2, 7, 12, 36, 99])
@pytest.mark.parametrize("label", ["Tea", "Choose the second of these", "long " * 36, "x" * 100])
def test_choices_that_are_shown_have_room(
    scripts: Callable[..., Any], box: dict[str, float], count: int, label: str
) -> None:
    found = scripts("screens/grid.js", ARRANGE, [[label] * count, box, True])
    assert 1 <= found["capacity"] <= count
    assert found["rows"] * found["columns"] >= found["capacity"]
    assert box["least"] <= found["size"] <= box["most"]
    if found["rows"] > 1:
        assert found["rows"] * found["height"] * found["size"] <= box["height"] + 0.01
    assert all(found["fits"])


def test_names_come_first_on_a_full_stage(scripts: Callable[..., Any]) -> None:
    names = scripts("screens/grid.js", ARRANGE, [NAMES, BOXES[0], False])
    assert (names["capacity"], names["fits"].count(False), names["beside"]) == (27, 0, False)
    # One that is far longer than the others is cut, rather than that it takes their place.
    outlier = scripts("screens/grid.js", ARRANGE, [[*["Tea"] * 39, "x" * 200], BOXES[0], False])
    assert (outlier["capacity"], outlier["fits"].count(False)) == (40, 1)


def test_names_that_are_cut_have_room_then(scripts: Callable[..., Any]) -> None:
    ask = """({ arrangeBars, lettersFor, linesOf, measureLabels }, [labels, box]) => {
        const measured = measureLabels(labels, (words) => words.length * 0.56);
        const found = arrangeBars(measured, { ...box, figures: 6 });
        const letters = lettersFor(measured, labels, found);
        const cut = labels.filter((_, at) => !found.fits[at]).map((label) => label.slice(0, letters));
        const again = measureLabels(cut, (words) => words.length * 0.56);
        return [cut.length, again.map((label) => linesOf(label, found.column)), found.lines];
    }"""
    for box in BOXES:
        for tail in ("swimming pool and sauna " * 4, "x" * 120):
            labels = [*RESOLUTIONS, f"{RESOLUTIONS[0]}0: {tail}", f"{RESOLUTIONS[0]}1: {tail}"]
            cut, lines, most = scripts("screens/grid.js", ask, [labels, box])
            assert cut == 2
            assert max(lines) <= most


def test_which_choices_are_shown(scripts: Callable[..., Any]) -> None:
    ask = """(grid, [choices, capacity, shown]) =>
        [grid.shownNumbers(choices, capacity, shown), grid.tiedBelow(choices, capacity)]"""
    choices = tally([3, 9, 9, 1, 3])["choices"]
    assert scripts("screens/grid.js", ask, [choices, 3, True]) == [[2, 3, 1], 1]
    assert scripts("screens/grid.js", ask, [choices, 2, True]) == [[2, 3], 0]
    assert scripts("screens/grid.js", ask, [choices, 5, True]) == [None, 0]
    # Hidden votes must not be told by who is shown.
    assert scripts("screens/grid.js", ask, [choices, 2, False])[0] == [1, 2]
    # The first ones are those that stand first: a reordered draft keeps the numbers that voters have seen.
    assert scripts("screens/grid.js", ask, [choices[::-1], 2, False])[0] == [5, 4]
    assert scripts("screens/grid.js", ask, [choices[::-1], 3, True])[0] == [3, 2, 5]


@pytest.mark.parametrize("count", [1, 2, 5, 99])
@pytest.mark.parametrize("state", ["open", "closed", "published"])
@pytest.mark.parametrize("most", [1, 99])
def test_a_sentence_of_names_stays_short(
    scripts: Callable[..., Any], count: int, state: str, most: int
) -> None:
    leaders = tally([7] * count + [1], max_selections=most, state=state)
    leaders |= {"winners": list(range(1, count + 1)), "ballots": 1_234_567, "selections": 12_345_678}
    for choice in leaders["choices"]:
        choice["label"] = f"{choice['label']} einer längeren Reihe {'and so on ' * 20}"[:200]
    spoken, outcome = scripts(
        "text/sentences.js",
        "({ announcementText, outcomeText }, it) => [announcementText(it), outcomeText(it)]",
        leaders,
    )
    assert 0 < len(spoken) <= 300
    assert len(outcome) <= 240
    assert spoken.count("\u2068") == spoken.count("\u2069") == min(count, 3)
    assert ("Tie" in outcome) is (count > 1 and state != "open")
    if count > 3:
        assert f"{count - 3} more" in spoken
    if state != "open":
        assert spoken.startswith("Official result" if state == "published" else "Final result")


def test_closed_and_published_are_told_apart(scripts: Callable[..., Any]) -> None:
    say = "({ closedText }, it) => closedText(it)"
    result = tally([2, 1], state="closed", closed_at="2026-01-05T09:00:00Z", winners=[1])
    assert scripts("text/sentences.js", say, result).startswith("Final result · Voting closed")
    assert scripts("text/sentences.js", say, {**result, "state": "published"}).startswith(
        "Official result · Voting closed"
    )
    # Nothing is said of a result that nobody here may see.
    assert scripts("text/sentences.js", say, {**result, "visible": False}).startswith("Voting closed")


AWAKE = """async ({ keepAwake }) => {
    const locks = [];
    const request = async (kind) => locks[locks.push({ kind, released: false }) - 1];
    Object.defineProperty(navigator, "wakeLock", { configurable: true, value: { request } });
    const shown = async () => {
        document.dispatchEvent(new Event("visibilitychange"));
        await new Promise((done) => setTimeout(done));
    };
    keepAwake();
    await shown();
    const held = locks.length;
    locks[0].released = true;
    await shown();
    delete navigator.wakeLock;
    keepAwake();
    return [held, locks.length, locks[0].kind];
}"""


def test_the_screen_is_kept_awake_and_again_after_it_was_hidden(scripts: Callable[..., Any]) -> None:
    assert scripts("screens/wake-lock.js", AWAKE) == [1, 2, "screen"]
