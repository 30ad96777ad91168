"""static/js/text: shares, shortened labels and the sentences about a poll."""

import re
from typing import Any

import pytest

from tests.scripts.running import Run, tally
from tests.share_cases import CASES

pytestmark = pytest.mark.full_only


def test_the_pages_say_shares_as_the_server_does(run: Run) -> None:
    say = """({ shares }, all) =>
        all.map(([tally, least]) => tally.choices.map(({ votes }) => shares(tally, least).of(votes)))"""
    asked = [[tally(votes, ballots), least] for votes, ballots, least, _ in CASES]
    assert run("text/texts.js", say, asked) == [shown for *_, shown in CASES]


@pytest.mark.parametrize(
    ("votes", "note"),
    [([1, 1, 1], True), ([1] * 7, True), ([1, 3], False), ([20_000, 1], False), ([0, 0], False)],
)
def test_shares_that_dont_add_up_are_noted(run: Run, votes: list[int], note: bool) -> None:
    said = run("methods/sentences.js", "({ figuresNote }, tally) => figuresNote(tally)", tally(votes))
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
            "12 ballots set aside for review: Choice 2 9 · Choice 1 3."
            " If they were released, Choice 2 would win.",
        ),
        (
            APART | {"choices": [{"number": 1, "votes": 0}], "winners_if_released": [1, 2]},
            "12 ballots set aside for review. If they were released, Choice 1 and Choice 2 would tie.",
        ),
        (
            {"ballots": 1, "withheld": True, "reasons": 1},
            "1 ballot set aside for review."
            " Their votes are hidden, because they would reveal single ballots.",
        ),
    ],
)
def test_the_second_tally_and_its_effect_are_stated(run: Run, apart: Any, said: str) -> None:
    final = tally([5, 2], state="closed", winners=[1], **({"quarantined": apart} if apart else {}))
    assert run("methods/sentences.js", "({ quarantineText }, tally) => quarantineText(tally)", final) == said


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
def test_stepped_results_never_say_that_there_are_no_ballots(
    run: Run, votes: list[int], state: str, step: int, said: list[str]
) -> None:
    say = """async ({ totalsText, figuresNote }, tally) => {
        const { noBallotsText } = await import("/js/text/sentences.js");
        return [totalsText(tally), noBallotsText(tally), figuresNote(tally)];
    }"""
    assert run("methods/sentences.js", say, tally(votes, state=state, release_step=step)) == said


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
def test_labels_are_shortened(run: Run, labels: list[str], longest: int, short: list[str]) -> None:
    assert run("text/shorten.js", SHORTEN, [labels, longest]) == short


def test_labels_that_begin_alike_are_told_apart(run: Run) -> None:
    grid = [f"{a * 60} {b * 60} end" for a in "xy" for b in "vw"]
    for labels in (
        RESOLUTIONS,
        grid,
        [label + "." * 100 for label in RESOLUTIONS],
        ["ab" * 50 + "c", "ab" * 50],
    ):
        for longest in (8, 12, 24, 40):
            short = run("text/shorten.js", SHORTEN, [labels, longest])
            assert len(set(short)) == len(labels), short


@pytest.mark.parametrize("count", [1, 2, 5, 99])
@pytest.mark.parametrize("state", ["open", "closed", "published"])
@pytest.mark.parametrize("most", [1, 99])
def test_a_sentence_of_names_stays_short(run: Run, count: int, state: str, most: int) -> None:
    leaders = tally([7] * count + [1], max_selections=most, state=state)
    leaders |= {"winners": list(range(1, count + 1)), "ballots": 1_234_567, "selections": 12_345_678}
    for choice in leaders["choices"]:
        choice["label"] = f"{choice['label']} einer längeren Reihe {'and so on ' * 20}"[:200]
    spoken, outcome = run(
        "methods/sentences.js",
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


def test_closed_and_published_are_told_apart(run: Run) -> None:
    say = "({ closedText }, it) => closedText(it)"
    result = tally([2, 1], state="closed", closed_at="2026-01-05T09:00:00Z", winners=[1])
    assert run("text/sentences.js", say, result).startswith("Final result · Voting closed")
    assert run("text/sentences.js", say, {**result, "state": "published"}).startswith(
        "Official result · Voting closed"
    )
    # A hidden result is called neither final nor official.
    assert run("text/sentences.js", say, {**result, "visible": False}).startswith("Voting closed")
