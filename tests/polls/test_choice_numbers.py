"""Choices keep their written order. Numbers that voters have seen stay with their texts."""

import pytest

from polls import drafts, lifecycle
from polls.errors import Malformed
from polls.models import Poll
from polls.poll_document import poll_document
from tests.factories import make_poll
from tests.polls.api_client import POLLS, Caller, make_key

pytestmark = pytest.mark.django_db

APPLE_AND_BUN = ["Apple", "Bun"]


def seen(choices: list[str]) -> Poll:
    """Return a draft of round 2 whose choices voters have seen."""
    poll = drafts.create_poll(choices, question="Which?", method="single")
    lifecycle.open_poll(poll.pk)
    return lifecycle.reset_poll(poll.pk)


def write(poll: Poll, choices: list[str]) -> list[tuple[int, str]]:
    """Change the draft's choices. Return the new ones in order."""
    drafts.change_poll(poll.pk, choices)
    return [(choice.number, choice.label) for choice in poll.choices.all()]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([["Bun", "Apple"]], [(2, "Bun"), (1, "Apple")]),
        ([["Bun", "Cake", "Apple"]], [(2, "Bun"), (3, "Cake"), (1, "Apple")]),
        ([["Cake", "Bun"], ["Pie", "Tart"]], [(3, "Pie"), (4, "Tart")]),
        ([["Apple", "Cake"], ["Apple", "Bun"]], [(1, "Apple"), (3, "Bun")]),
    ],
)
def test_choices_keep_the_written_order_and_their_numbers(
    changes: list[list[str]], expected: list[tuple[int, str]]
) -> None:
    poll = seen(APPLE_AND_BUN)
    for choices in changes:
        written = write(poll, choices)
    assert written == expected
    poll = lifecycle.open_poll(poll.pk)
    assert [(choice["number"], choice["label"]) for choice in poll_document(poll)["choices"]] == expected


def test_the_api_answers_with_the_new_order() -> None:
    call, poll = Caller(make_key("polls:write")), seen(APPLE_AND_BUN)
    answer = call("PATCH", f"{POLLS}{poll.code}/", {"choices": ["Bun", "Apple"]})
    assert answer.status_code == 200
    assert answer.json()["choices"] == [{"number": 2, "label": "Bun"}, {"number": 1, "label": "Apple"}]


def test_all_99_choices_can_be_reordered() -> None:
    labels = [f"Choice {number}" for number in range(1, 100)]
    poll = seen(labels)
    assert write(poll, labels[::-1]) == list(zip(range(99, 0, -1), labels[::-1], strict=True))


@pytest.mark.parametrize("opened_before", [False, True])
def test_unpublished_numbers_are_reused(opened_before: bool) -> None:
    labels = [f"Choice {number}" for number in range(34)]
    poll = seen(labels) if opened_before else make_poll(34)
    first = 35 if opened_before else 1
    for edit in ("once", "twice", "three times"):
        renamed = [f"{label}, {edit}" for label in labels]
        assert write(poll, renamed) == list(enumerate(renamed, first))


def test_numbers_of_every_round_stay_taken() -> None:
    poll = seen(APPLE_AND_BUN)
    write(poll, ["Cake", "Pie"])
    lifecycle.open_poll(poll.pk)
    lifecycle.reset_poll(poll.pk)
    write(poll, APPLE_AND_BUN)
    assert write(poll, ["Pie", "Tart", "Cake"]) == [(5, "Pie"), (6, "Tart"), (7, "Cake")]


def test_used_up_numbers_are_an_error_that_says_what_to_do() -> None:
    labels = [f"Choice {number}" for number in range(60)]
    poll = seen(labels)
    with pytest.raises(Malformed, match="60 of the poll's 99") as refusal:
        drafts.change_poll(poll.pk, [f"{label}, again" for label in labels])
    assert "make a new poll" in refusal.value.detail
    assert [choice.label for choice in poll.choices.all()] == labels
