"""A poll's lifecycle: steps, closing and rounds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from analytics.counting import batches, closing
from polls import drafts, lifecycle, votelog
from polls.errors import IllegalState, PollNotFound
from polls.models import Ballot, Choice, Poll, Round, State
from polls.signals import ballots_appended, poll_changed
from tests.factories import append, check_books, count, fill, make_poll, new_ballot, open_poll, tallied
from tests.polls.steps import STEPS, again, codes, in_state

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log")]

ALLOWED = {
    State.DRAFT: {"open"},
    State.OPEN: {"close", "reset"},
    State.CLOSING: set(),
    State.CLOSED: {"publish", "reset"},
    State.PUBLISHED: {"reset"},
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PUBLISH_WAIT_SECONDS", 0)


@pytest.fixture
def announced() -> Iterator[list[int]]:
    heard: list[int] = []

    def hear(poll_id: int, **_: Any) -> None:
        heard.append(poll_id)

    poll_changed.connect(hear)
    yield heard
    poll_changed.disconnect(hear)


# --- states ---


def test_a_poll_goes_through_its_life(announced: list[int]) -> None:
    poll = make_poll()
    assert codes(new_ballot(poll, 1, 1)) == ["poll_not_open"]
    before = timezone.now() - timedelta(milliseconds=1)  # the log's clock has milliseconds
    poll = lifecycle.open_poll(poll.pk)
    assert (poll.state, poll.gates_set) == (State.OPEN, True)
    assert poll.opens_at and poll.opens_at >= before
    fill(poll, range(5), 2)
    poll = lifecycle.close_poll(poll.pk)
    assert poll.state == State.CLOSING
    count()
    poll = again(poll)
    assert poll.state == State.CLOSED
    assert poll.closed_at
    result = Round.objects.get(poll=poll).result
    assert (result["ballots"], result["winners"]) == (5, [2])
    poll = lifecycle.publish_poll(poll.pk)
    assert poll.state == State.PUBLISHED
    assert poll.published_at
    poll = lifecycle.reset_poll(poll.pk)
    assert (poll.state, poll.round, poll.epoch) == (State.DRAFT, 2, 2)
    assert (poll.opens_at, poll.closes_at, poll.closed_at, poll.published_at) == (None,) * 4
    assert announced.count(poll.pk) >= 4


@pytest.mark.parametrize("state", list(State))
def test_each_state_allows_only_its_steps(state: State) -> None:
    poll = in_state(state)
    assert poll.state == state
    assert set(lifecycle.next_steps(poll)) == ALLOWED[state]
    for name in STEPS.keys() - ALLOWED[state]:
        revision = again(poll).revision
        with pytest.raises(IllegalState) as caught:
            STEPS[name](poll.pk)
        assert caught.value.detail
        assert (again(poll).state, again(poll).revision) == (state, revision)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_an_unknown_poll_is_refused(name: str) -> None:
    with pytest.raises(PollNotFound):
        STEPS[name](999_999)


def test_each_step_increments_the_revision() -> None:
    poll = make_poll()
    seen = [poll.revision]
    seen += [STEPS[name](poll.pk).revision for name in ("open", "close")]
    count()
    seen.append(again(poll).revision)
    seen += [STEPS[name](poll.pk).revision for name in ("publish", "reset", "open")]
    assert seen == sorted(set(seen))


def test_a_poll_with_invalid_rules_does_not_open() -> None:
    poll = make_poll()
    Choice.objects.filter(poll=poll, number__gt=1).delete()
    with pytest.raises(IllegalState, match="two choices"):
        lifecycle.open_poll(poll.pk)
    assert not Round.objects.exists()
    assert codes(new_ballot(poll, 1, 1)) == ["poll_not_open"]


def test_choices_and_rules_are_frozen_once_open() -> None:
    poll = open_poll()
    with pytest.raises(IllegalState):
        drafts.change_poll(poll.pk, ["A", "B"])
    with pytest.raises(IllegalState):
        drafts.delete_poll(poll.pk)
    frozen = {
        "method": "single", "numbers": [1, 2, 3], "least": 1, "most": 1,
        "revote": False, "identity": "browser",
    }  # fmt: skip
    assert Round.objects.get(poll=poll).rules == frozen


def test_the_number_of_rounds_is_limited() -> None:
    poll = open_poll()
    Poll.objects.filter(pk=poll.pk).update(round=lifecycle.MAX_ROUNDS)
    with pytest.raises(IllegalState, match="rounds"):
        lifecycle.reset_poll(poll.pk)


# --- closing ---


def test_a_poll_is_closed_only_when_every_partition_is_counted() -> None:
    poll = open_poll()
    fill(poll, range(40))
    lifecycle.close_poll(poll.pk)
    partitions = range(votelog.get_log().partitions)
    for partition in partitions:
        assert again(poll).state == State.CLOSING
        closing.close_counted_polls()
        assert again(poll).state == State.CLOSING
        with pytest.raises(IllegalState, match="still being counted"):
            lifecycle.publish_poll(poll.pk)
        batches.count_partition(partition)
    assert again(poll).state == State.CLOSED
    result = Round.objects.get(poll=poll).result
    assert result["ballots"] == 40
    assert check_books(poll)[1, "ballots"] == 40


def test_closing_triggers_the_counting_of_all_partitions() -> None:
    triggered: list[set[int]] = []

    def hear(partitions: set[int], **_: Any) -> None:
        triggered.append(partitions)

    poll = open_poll()
    ballots_appended.connect(hear)
    try:
        lifecycle.close_poll(poll.pk)
    finally:
        ballots_appended.disconnect(hear)
    assert triggered == [set(range(votelog.get_log().partitions))]


def test_the_closing_time_is_by_the_logs_clock() -> None:
    poll = open_poll()
    poll = lifecycle.close_poll(poll.pk)
    latest = max(marker.closed_at for marker in lifecycle.closing_markers(poll))
    count()
    assert again(poll).closed_at == datetime.fromtimestamp(latest / 1000, UTC)
    assert Round.objects.get(poll=poll).closed_at == again(poll).closed_at


def test_a_poll_without_ballots_closes() -> None:
    poll = in_state(State.CLOSED)
    result = Round.objects.get(poll=poll).result
    assert (result["ballots"], result["winners"]) == (0, [])


def test_a_poll_that_can_not_be_closed_delays_no_other() -> None:
    broken, sound = open_poll(), open_poll()
    for poll in (broken, sound):
        lifecycle.close_poll(poll.pk)
    Poll.objects.filter(pk=broken.pk).update(method="forgotten")
    count()
    assert again(broken).state == State.CLOSING
    assert again(sound).state == State.CLOSED
    Poll.objects.filter(pk=broken.pk).update(method="single")
    closing.close_counted_polls()
    assert again(broken).state == State.CLOSED


# --- rounds ---


def test_ballots_of_the_old_round_are_counted_in_it() -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    poll = lifecycle.reset_poll(poll.pk)
    assert codes(new_ballot(poll, 20, 1, round=1)) == ["round_changed"]
    assert codes(new_ballot(poll, 20, 1)) == ["poll_not_open"]
    poll = lifecycle.open_poll(poll.pk)
    fill(poll, range(5), 2)
    count()
    assert check_books(poll) == {(1, "ballots"): 10, (1, "1"): 10, (2, "ballots"): 5, (2, "2"): 5}
    assert Ballot.objects.filter(round=1).count() == 10


def test_ballots_of_the_old_round_are_validated_by_its_rules() -> None:
    poll = open_poll(method="multiple", max_selections=3)
    append(new_ballot(poll, 1, 1, 2, 3))
    lifecycle.reset_poll(poll.pk)
    drafts.change_poll(poll.pk, ["Yes", "No"], method="single", min_selections=1, max_selections=1)
    poll = lifecycle.open_poll(poll.pk)
    count()
    assert tallied(poll) == {(1, "ballots"): 1, (1, "1"): 1, (1, "2"): 1, (1, "3"): 1}


def test_resetting_an_open_poll_closes_its_gate() -> None:
    poll = open_poll()
    poll = lifecycle.reset_poll(poll.pk)
    first = Round.objects.get(poll=poll, number=1)
    assert first.closed_at is not None
    assert first.result is None
    assert codes(new_ballot(poll, 1, 1)) == ["poll_not_open"]


def test_each_round_keeps_its_result() -> None:
    poll = open_poll()
    for winner in (1, 3):
        fill(poll, range(3), winner)
        lifecycle.close_poll(poll.pk)
        count()
        if winner == 1:
            lifecycle.reset_poll(poll.pk)
            poll = lifecycle.open_poll(poll.pk)
    results = Round.objects.filter(poll=poll).values_list("number", "result__winners")
    assert list(results) == [(1, [1]), (2, [3])]
