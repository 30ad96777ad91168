"""static/js/screens: keys, the arrangement of bars, the wake lock."""

import pytest

from tests.scripts.running import Run, tally
from tests.scripts.test_text import RESOLUTIONS

pytestmark = pytest.mark.full_only


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
    run: Run, key: str, code: str, shift: bool, meant: str
) -> None:
    event = {"key": key, "code": code, "shiftKey": shift}
    assert run("screens/keyboard.js", "({ shortcutOf }, event) => shortcutOf(event)", event) == meant


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
def test_choices_that_are_shown_have_room(run: Run, box: dict[str, float], count: int, label: str) -> None:
    found = run("screens/grid.js", ARRANGE, [[label] * count, box, True])
    assert 1 <= found["capacity"] <= count
    assert found["rows"] * found["columns"] >= found["capacity"]
    assert box["least"] <= found["size"] <= box["most"]
    if found["rows"] > 1:
        assert found["rows"] * found["height"] * found["size"] <= box["height"] + 0.01
    assert all(found["fits"])


def test_labels_have_precedence_on_a_full_screen(run: Run) -> None:
    names = run("screens/grid.js", ARRANGE, [NAMES, BOXES[0], False])
    assert (names["capacity"], names["fits"].count(False), names["beside"]) == (27, 0, False)
    # A label far longer than the others is truncated, so that it doesn't take their room.
    outlier = run("screens/grid.js", ARRANGE, [[*["Tea"] * 39, "x" * 200], BOXES[0], False])
    assert (outlier["capacity"], outlier["fits"].count(False)) == (40, 1)


def test_truncated_labels_fit(run: Run) -> None:
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
            cut, lines, most = run("screens/grid.js", ask, [labels, box])
            assert cut == 2
            assert max(lines) <= most


def test_which_choices_are_shown(run: Run) -> None:
    ask = """async (grid, [tally, capacity, shown]) => {
        const { methodOf } = await import("/js/methods/registry.js");
        const chart = methodOf(tally).chart(tally, shown);
        return [grid.shownKeys(chart, capacity), grid.tiedBelow(chart, capacity)];
    }"""
    asked = tally([3, 9, 9, 1, 3])
    assert run("screens/grid.js", ask, [asked, 3, True]) == [[2, 3, 1], 1]
    assert run("screens/grid.js", ask, [asked, 2, True]) == [[2, 3], 0]
    assert run("screens/grid.js", ask, [asked, 5, True]) == [None, 0]
    # The shown choices must not reveal hidden votes.
    assert run("screens/grid.js", ask, [asked, 2, False])[0] == [1, 2]
    # The order of the choices counts, not their numbers, which a reordered draft keeps.
    reversed_ = asked | {"choices": asked["choices"][::-1]}
    assert run("screens/grid.js", ask, [reversed_, 2, False])[0] == [5, 4]
    assert run("screens/grid.js", ask, [reversed_, 3, True])[0] == [3, 2, 5]


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


def test_the_screen_is_kept_awake_again_after_it_was_hidden(run: Run) -> None:
    assert run("screens/wake-lock.js", AWAKE) == [1, 2, "screen"]
