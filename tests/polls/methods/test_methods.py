"""Voting methods, table-tested: rules, selections, tallies and results."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polls.errors import InvalidSelection
from polls.methods import METHODS, MethodRules, get_method, method_choices
from polls.methods.plurality import encode

FIVE = frozenset({1, 2, 3, 5, 8})  # with gaps, because numbers of deleted choices are not reused
SINGLE, MULTIPLE = get_method("single"), get_method("multiple")
TWO_TO_THREE = MethodRules(FIVE, 2, 3)

VALID: list[tuple[Any, MethodRules, list[int], tuple[int, ...]]] = [
    (SINGLE, MethodRules(FIVE), [1], (1,)),
    (SINGLE, MethodRules(FIVE), [8], (8,)),
    (MULTIPLE, TWO_TO_THREE, [2, 1], (1, 2)),
    (MULTIPLE, TWO_TO_THREE, [8, 5, 1], (1, 5, 8)),
    (MULTIPLE, MethodRules(FIVE, 1, 5), [3], (3,)),
    (MULTIPLE, MethodRules(FIVE, 1, 5), [8, 5, 3, 2, 1], (1, 2, 3, 5, 8)),
]
INVALID: list[tuple[Any, MethodRules, list[int], str]] = [
    (SINGLE, MethodRules(FIVE), [], "too_few"),
    (SINGLE, MethodRules(FIVE), [1, 2], "too_many"),
    (SINGLE, MethodRules(FIVE), [4], "unknown_choice"),
    (SINGLE, MethodRules(FIVE), [0], "unknown_choice"),
    (SINGLE, MethodRules(FIVE), [-1], "unknown_choice"),
    (SINGLE, MethodRules(FIVE), [10**40], "unknown_choice"),
    (SINGLE, MethodRules(FIVE), [1, 1], "duplicate_choice"),
    (MULTIPLE, TWO_TO_THREE, [], "too_few"),
    (MULTIPLE, TWO_TO_THREE, [1], "too_few"),
    (MULTIPLE, TWO_TO_THREE, [1, 2, 3, 5], "too_many"),
    (MULTIPLE, TWO_TO_THREE, [1, 2, 4], "unknown_choice"),
    (MULTIPLE, TWO_TO_THREE, [2, 2, 3], "duplicate_choice"),
]


@pytest.mark.parametrize(("method", "rules", "marks", "selection"), VALID)
def test_a_valid_selection_is_sorted(
    method: Any, rules: MethodRules, marks: list[int], selection: tuple[int, ...]
) -> None:
    assert method.check(rules, tuple(marks)) == encode(selection)


@pytest.mark.parametrize(("method", "rules", "marks", "reason"), INVALID)
def test_an_invalid_selection_is_refused_with_a_reason(
    method: Any, rules: MethodRules, marks: list[int], reason: str
) -> None:
    with pytest.raises(InvalidSelection) as caught:
        method.check(rules, tuple(marks))
    assert caught.value.extra == {"reason": reason}
    assert caught.value.detail


@pytest.mark.parametrize(
    ("name", "rules", "sound"),
    [
        ("single", MethodRules(FIVE), True),
        ("single", MethodRules(frozenset({1})), False),
        ("single", MethodRules(FIVE, 1, 2), False),
        ("single", MethodRules(FIVE, 2, 2), False),
        ("multiple", MethodRules(FIVE, 1, 5), True),
        ("multiple", MethodRules(FIVE, 3, 3), True),
        ("multiple", MethodRules(FIVE, 0, 3), False),
        ("multiple", MethodRules(FIVE, 3, 2), False),
        ("multiple", MethodRules(FIVE, 1, 6), False),
        ("multiple", MethodRules(frozenset({4}), 1, 1), False),
        ("multiple", MethodRules(frozenset(), 1, 1), False),
    ],
)
def test_invalid_rules_are_refused(name: str, rules: MethodRules, sound: bool) -> None:
    if sound:
        get_method(name).check_rules(rules)
    else:
        with pytest.raises(ValueError):
            get_method(name).check_rules(rules)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("count", [2, 3, 50])
def test_the_defaults_are_valid(name: str, count: int) -> None:
    method = get_method(name)
    config = method.complete(method.Config())
    method.check_rules(MethodRules(frozenset(range(1, count + 1)), *method.default_limits(count), config))


@pytest.mark.parametrize("method", [SINGLE, MULTIPLE])
@pytest.mark.parametrize(
    ("counts", "votes", "winners"),
    [
        ({}, {1: 0, 2: 0, 3: 0}, []),
        ({"ballots": 5, "1": 2, "2": 3}, {1: 2, 2: 3, 3: 0}, [2]),
        ({"ballots": 4, "3": 2, "1": 2}, {1: 2, 2: 0, 3: 2}, [1, 3]),
        ({"9": 7, "2": 1}, {1: 0, 2: 1, 3: 0}, [2]),
    ],
)
def test_votes_and_winners_of_a_tally(
    method: Any, counts: dict[str, int], votes: dict[int, int], winners: list[int]
) -> None:
    rules = MethodRules(frozenset({1, 2, 3}))
    found = method.totals(rules, counts)
    assert {number: each["votes"] for number, each in found["choices"].items()} == votes
    assert found["selections"] == sum(votes.values())
    assert method.winners(rules, counts) == winners


@pytest.mark.parametrize("selection", [(1,), (1, 2), (99,), tuple(range(1, 100))])
def test_each_mark_adds_one(selection: tuple[int, ...]) -> None:
    assert MULTIPLE.cells(encode(selection)) == {str(number): 1 for number in selection}


@given(st.lists(st.integers(1, 99), min_size=1, max_size=99, unique=True).map(tuple))
def test_a_stored_selection_round_trips(selection: tuple[int, ...]) -> None:
    text = encode(selection)
    assert MULTIPLE.decode(text) == selection
    assert len(text) <= 400


@pytest.mark.parametrize("text", ["", ",", "1,", "x", "1;2", "\0", "1.5", "\ufffd"])
def test_other_text_is_no_stored_selection(text: str) -> None:
    with pytest.raises(ValueError):
        SINGLE.decode(text)


def test_every_method_has_a_name_and_a_label() -> None:
    assert [name for name, _ in method_choices()] == ["single", "multiple", "rating"]
    assert all(str(label) for _, label in method_choices())
