"""Ratings and net promoter scores, table-tested, and compared with exact arithmetic."""

import random
from decimal import ROUND_HALF_UP, Decimal, getcontext
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polls.errors import InvalidSelection
from polls.methods import MethodRules, RulesError, get_method
from polls.methods.rating import RatingConfig, average, net_promoter_score, signed

RATING = get_method("rating")
getcontext().prec = 60


def rules(items: int = 3, least: int = 1, most: int | None = None, **config: Any) -> MethodRules:
    complete = RATING.complete(msgspec.convert(config, RatingConfig))
    return MethodRules(frozenset(range(1, items + 1)), least, items if most is None else most, complete)


# --- rules and ballots ---


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (rules(), None),
        (rules(1), None),
        (rules(50, scale=10), None),
        (rules(2, style="nps"), None),
        (rules(2, style="nps", scale=10), None),
        (rules(0, most=1), "choices"),
        (rules(51), "choices"),
        (rules(2, style="nps", scale=5), "config.scale"),
        (rules(2, most=3), "max_selections"),
        (rules(2, least=0), "max_selections"),
    ],
)
def test_invalid_rules_are_refused(given: MethodRules, field: str | None) -> None:
    if field is None:
        RATING.check_rules(given)
        return
    with pytest.raises(RulesError) as caught:
        RATING.check_rules(given)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("given", "scale"), [({}, 5), ({"scale": 2}, 2), ({"style": "nps"}, 10), ({"style": "stars"}, 5)]
)
def test_the_scale_has_a_default(given: dict[str, Any], scale: int) -> None:
    assert RATING.complete(msgspec.convert(given, RatingConfig)).scale == scale


@pytest.mark.parametrize("given", [{"scale": 1}, {"scale": 11}, {"scale": "5"}, {"style": "x"}, {"more": 1}])
def test_an_unknown_config_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, RatingConfig)


@pytest.mark.parametrize(
    ("given", "marks", "selection"),
    [
        (rules(), {3: 5, 1: 4}, "1:4,3:5"),
        (rules(), {2: 1, 1: None}, "2:1"),
        (rules(scale=2), {1: 2}, "1:2"),
        (rules(1, style="nps"), {1: 0}, "1:0"),
        (rules(1, style="nps"), {1: 10}, "1:10"),
    ],
)
def test_a_valid_ballot_is_stored_in_the_order_of_the_items(
    given: MethodRules, marks: dict[int, int | None], selection: str
) -> None:
    assert RATING.check(given, marks) == selection
    assert RATING.is_canonical(given, selection)
    assert RATING.cells(selection) == dict.fromkeys(selection.split(","), 1)
    assert set(RATING.cells(selection)) <= set(RATING.keys(given))


@pytest.mark.parametrize(
    ("given", "marks", "reason"),
    [
        (rules(), {}, "too_few"),
        (rules(), {1: None, 2: None}, "too_few"),
        (rules(least=2), {1: 3}, "too_few"),
        (rules(most=2), {1: 3, 2: 3, 3: 3}, "too_many"),
        (rules(), {4: 1}, "unknown_choice"),
        (rules(), {4: None}, "unknown_choice"),
        (rules(), {1: 0}, "off_scale"),
        (rules(), {1: 6}, "off_scale"),
        (rules(), {1: 10**30}, "off_scale"),
        (rules(1, style="nps"), {1: 11}, "off_scale"),
        (rules(1, style="nps"), {1: -1}, "off_scale"),
    ],
)
def test_an_invalid_ballot_is_refused_with_a_reason(
    given: MethodRules, marks: dict[int, int | None], reason: str
) -> None:
    with pytest.raises(InvalidSelection) as caught:
        RATING.check(given, marks)
    assert caught.value.extra == {"reason": reason}


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "1:2:3", "x:1", "1:x", "1:1,", "\0"])
def test_other_text_is_no_stored_ballot(text: str) -> None:
    with pytest.raises(ValueError):
        RATING.decode(text)


@pytest.mark.parametrize("text", ["01:4", "1:04", "3:1,1:1", "1:4,1:4", " 1:4"])
def test_a_ballot_in_another_form_is_not_canonical(text: str) -> None:
    assert not RATING.is_canonical(rules(), text)


def test_the_longest_ballot_can_be_stored() -> None:
    numbers = frozenset(range(50, 100))
    given = MethodRules(numbers, 1, 50, RatingConfig("nps", 10))
    assert len(RATING.check(given, dict.fromkeys(numbers, 10))) <= 400


# --- figures ---

DISTRIBUTIONS = st.lists(st.integers(0, 10**6), min_size=2, max_size=10)
NPS_DISTRIBUTIONS = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**6)), min_size=11, max_size=11)


@given(DISTRIBUTIONS)
def test_the_mean_is_rounded_half_up(distribution: list[int]) -> None:
    total = sum(value * count for value, count in enumerate(distribution, 1))
    found = average(distribution)["mean"]
    if not sum(distribution):
        assert found is None
        return
    exact = Decimal(total) / sum(distribution)
    assert Decimal(str(found)) == exact.quantize(Decimal("0.1"), ROUND_HALF_UP)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=10))
def test_the_median(distribution: list[int]) -> None:
    answers = [value for value, count in enumerate(distribution, 1) for _ in range(count)]
    assert average(distribution)["median"] == (median(answers) if answers else None)


@given(NPS_DISTRIBUTIONS)
def test_the_net_promoter_score(distribution: list[int]) -> None:
    found, answers = net_promoter_score(distribution), sum(distribution)
    if not answers:
        assert found["score"] is None
        return
    promoters, detractors = sum(distribution[9:]), sum(distribution[:7])
    share, lack = Decimal(promoters) / answers, Decimal(detractors) / answers
    # ROUND_HALF_UP of the decimal module rounds away from zero.
    exact = Decimal(100 * (promoters - detractors)) / answers
    assert found["score"] == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    assert sum(found["shares"]) == 100
    parts = (promoters, found["passives"], detractors)
    pairs = zip(found["shares"], parts, strict=True)
    assert all(abs(shown - Decimal(100 * part) / answers) < 1 for shown, part in pairs)
    margin = Decimal("1.96") * 100 * ((share + lack - (share - lack) ** 2) / answers).sqrt()
    wanted = int(margin.quantize(Decimal(1), ROUND_HALF_UP)) if answers >= 30 else None
    assert found["margin"] == wanted


@pytest.mark.parametrize(
    ("promoters", "passives", "detractors", "score"),
    [
        (1, 0, 1, 0),
        (0, 5, 0, 0),
        (3, 4, 1, 25),
        (1, 0, 7, -75),
        (1, 7, 0, 13),
        (0, 7, 1, -13),
        (1, 199, 0, 1),
    ],
)
def test_a_half_is_rounded_away_from_zero(promoters: int, passives: int, detractors: int, score: int) -> None:
    distribution = [detractors, *[0] * 6, passives, 0, promoters, 0]
    assert net_promoter_score(distribution)["score"] == score


@pytest.mark.parametrize(
    ("score", "text"), [(12, "+12"), (-8, "−8"), (0, "0"), (100, "+100"), (-100, "−100")]
)
def test_a_score_has_a_sign(score: int, text: str) -> None:
    assert signed(score) == text


def test_figures_are_by_item_and_refer_to_its_answers() -> None:
    counts = {"ballots": 4, "1:5": 2, "1:4": 1, "2:1": 1}
    found = RATING.figures(rules(2), counts, 4)
    assert found == {
        "answers": 4,
        "base": "answers",
        "choices": {
            1: {"answers": 3, "distribution": [0, 0, 0, 1, 2], "mean": 4.7, "median": 5.0},
            2: {"answers": 1, "distribution": [1, 0, 0, 0, 0], "mean": 1.0, "median": 1.0},
        },
    }
    assert RATING.winners(rules(2), counts) == []
    assert RATING.key_label("2:1", {2: "Soup"}) == "Soup: 1"
    assert RATING.key_label("?", {}) == "?"


@pytest.mark.parametrize("style", ["numbers", "nps"])
def test_a_result_becomes_a_table(style: str) -> None:
    given = rules(2, style=style)
    figures = RATING.figures(given, {"1:9" if style == "nps" else "1:4": 3}, 3)
    choices = [{"number": n, "label": f"Item {n}", **each} for n, each in figures["choices"].items()]
    head, rows = RATING.table({**figures, "choices": choices})
    assert [row.figures for row in rows] == (
        [["+100", "100%", "0%", "0%", 3], ["–", "–", "–", "–", 0]]
        if style == "nps"
        else [["4.0", "4", 3], ["–", "–", 0]]
    )
    assert {len(row.figures) for row in rows} == {len(head) - 1}


@pytest.mark.parametrize("style", ["numbers", "nps"])
def test_simulated_voters_cast_valid_ballots(style: str) -> None:
    given, rng = rules(4, style=style), random.Random(7)
    for _ in range(200):
        RATING.check(given, RATING.sample(given, {1: 1, 2: 2, 3: 3, 4: 0.5}, rng))
