"""static/js/methods/rating.js: what a ballot may rate, the order of items, and the sentences."""

from typing import Any

import pytest

from tests.scripts.running import Run

pytestmark = pytest.mark.full_only

STARS = {"style": "stars", "scale": 5, "low_label": "poor", "high_label": ""}
NPS = {"style": "nps", "scale": 10, "low_label": "", "high_label": ""}


def item(number: int, distribution: list[int], **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "label": f"Item {number}",
        "answers": sum(distribution),
        "distribution": distribution,
        **more,
    }


def rated(*items: dict[str, Any], config: Any = STARS, **more: Any) -> dict[str, Any]:
    facts = {"method": "rating", "state": "open", "visible": True, "min_selections": 1}
    ballots = max(each["answers"] for each in items)
    answers = sum(each["answers"] for each in items)
    counts = {"ballots": ballots, "answers": answers, "max_selections": len(items)}
    return {**facts, **counts, "config": config, "choices": list(items), **more}


THREE = [
    item(1, [0, 0, 0, 0, 6], mean=5.0, median=5),
    item(2, [6, 0, 0, 0, 0], mean=1.0, median=1),
    item(3, [0, 0, 0, 0, 7], mean=5.0, median=5),
]
UNANSWERED = [item(n, [0] * 5, mean=None, median=None) for n in (1, 2)]

ASK = """({ methodOf }, [tally, selections]) => {
    const method = methodOf(tally);
    const problem = method.problem(tally, selections);
    const said = problem && [problem.key, problem.count ?? null];
    return [method.rule(tally).key, said, method.content(selections)];
}"""


@pytest.mark.parametrize(
    ("limits", "selections", "rule", "problem"),
    [
        ((1, 3), [], "rateAny", ["rateAny", None]),
        ((1, 3), [[2, 5]], "rateAny", None),
        ((3, 3), [[2, 5]], "rateAll", ["rateMore", 2]),
        ((2, 3), [[1, 1], [2, 5]], "rateBetween", None),
        ((2, 2), [[1, 1], [2, 5]], "rateExactly", None),
        ((1, 2), [[1, 1], [2, 5], [3, 4]], "rateBetween", ["rateFewer", 1]),
    ],
)
def test_what_a_ballot_may_rate(
    run: Run, limits: tuple[int, int], selections: list[list[int]], rule: str, problem: Any
) -> None:
    least, most = limits
    tally = rated(*THREE, min_selections=least, max_selections=most)
    content = {"ratings": {str(number): value for number, value in selections}}
    assert run("methods/registry.js", ASK, [tally, selections]) == [rule, problem, content]


BARS = """({ methodOf }, [tally, shown]) => {
    const bars = methodOf(tally).chart(tally, shown);
    return bars.map(({ key, label, part, main }) => [key, label, part, main?.format(main.value)]);
}"""


def test_items_are_in_the_order_of_the_poll_until_the_result_is_final(run: Run) -> None:
    def bars(tally: dict[str, Any], shown: bool = True) -> Any:
        return run("methods/registry.js", BARS, [tally, shown])

    assert bars(rated(*THREE)) == [
        [1, "Item 1", 1, "5.0"],
        [2, "Item 2", 0, "1.0"],
        [3, "Item 3", 1, "5.0"],
    ]
    assert [key for key, *_ in bars(rated(*THREE, state="closed"))] == [1, 3, 2]
    few = [*THREE[:2], item(3, [0, 0, 0, 0, 4], mean=5.0, median=5)]
    assert [key for key, *_ in bars(rated(*few, state="closed"))] == [1, 2, 3]
    assert bars(rated(*UNANSWERED)) == [[1, "Item 1", 0, None], [2, "Item 2", 0, None]]


def test_hidden_figures_are_in_no_bar(run: Run) -> None:
    hidden = rated(*THREE, state="closed", visible=False)
    hidden["choices"] = [{"number": n, "label": f"Item {n}"} for n in (1, 2, 3)]
    assert [each[2:] for each in run("methods/registry.js", BARS, [hidden, False])] == [[0, None]] * 3
    one = hidden | {"choices": hidden["choices"][:1]}
    assert run("methods/registry.js", BARS, [one, False])[0] == [1, "1 · poor", 0, None]


SAY = """({ outcomeText, totalsText, announcementText, figuresNote, quarantineText }, tally) =>
    [outcomeText, totalsText, announcementText, figuresNote, quarantineText].map((say) => say(tally))"""
SCORE = {"score": -25, "margin": None, "shares": [25, 25, 50]}


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (rated(*UNANSWERED), ["", "0 ballots · 0 answers", "", "", ""]),
        (
            rated(item(1, [1, 0, 1, 0, 0], mean=2.0, median=2)),
            ["Mean 2.0 of 5 · median 2", "2 ballots", "Mean 2.0 of 5 · median 2. 2 ballots.", "", ""],
        ),
        (
            rated(item(1, [4, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0], **SCORE), config=NPS),
            [
                "NPS −25 · 25% promoters, 25% passives, 50% detractors",
                "8 ballots",
                "NPS −25 · 25% promoters, 25% passives, 50% detractors. 8 ballots.",
                None,
                "",
            ],
        ),
        (
            rated(*THREE, state="published", quarantined={"ballots": 12, "choices": [], "reasons": 1}),
            [
                "Rated highest: Item 1 and Item 3",
                "7 ballots · 19 answers",
                "Official result. Rated highest: Item 1 and Item 3. 7 ballots · 19 answers.",
                None,
                "12 ballots set aside for review.",
            ],
        ),
    ],
)
def test_what_is_said(run: Run, tally: dict[str, Any], said: list[str | None]) -> None:
    found = run("methods/sentences.js", SAY, tally)
    assert [a for a, b in zip(found, said, strict=True) if b is not None] == [
        b for b in said if b is not None
    ]


TABLE = "({ methodOf }, tally) => methodOf(tally).table(tally)"


def test_the_table_has_each_value(run: Run) -> None:
    several = run("methods/registry.js", TABLE, rated(*THREE))
    assert several["head"] == ["Item", "Mean", "Median", "Answers", "1", "2", "3", "4", "5"]
    assert several["rows"][0]["cells"] == ["5.0", "5", "6", "0", "0", "0", "0", "6"]
    one = run("methods/registry.js", TABLE, rated(THREE[0]))
    assert [row["label"] for row in one["rows"]] == ["1 · poor", "2", "3", "4", "5"]
    assert one["rows"][4]["cells"] == ["6", "100.0%"]
    none = run("methods/registry.js", TABLE, rated(*UNANSWERED))
    assert none["rows"][0]["cells"][:3] == ["–", "–", "0"]
