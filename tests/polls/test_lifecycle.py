"""A poll's lifecycle: steps, schedule, rounds, and gates after a crash."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from analytics import tasks
from analytics.counting import batches, closing
from polls import clock, drafts, lifecycle, votelog
from polls.errors import IllegalState, Malformed, PollNotFound
from polls.models import Ballot, Choice, Poll, Round, State
from polls.signals import ballots_appended, poll_changed
from polls.votelog.admission import Gate
from tests.factories import append, check_books, count, fill, make_poll, new_ballot, open_poll, tallied

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log")]

STEPS: dict[str, Callable[[int], Poll]] = {
    "open": lifecycle.open_poll,
    "close": lifecycle.close_poll,
    "publish": lifecycle.publish_poll,
    "reset": lifecycle.reset_poll,
}
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


def in_state(state: State, **fields: Any) -> Poll:
    poll = make_poll(**fields)
    for step in {"draft": "", "open": "open", "closing": "open close"}.get(state, "open close").split():
        poll = STEPS[step](poll.pk)
    if state in (State.CLOSED, State.PUBLISHED):
        count()
    if state == State.PUBLISHED:
        lifecycle.publish_poll(poll.pk)
    return again(poll)


def again(poll: Poll) -> Poll:
    return Poll.objects.get(pk=poll.pk)


def codes(*ballots: Any) -> list[str]:
    return [outcome.code for outcome in append(*ballots)]


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


# --- the schedule ---


def at(poll: Poll, **times: timedelta | None) -> None:
    now = timezone.now()
    moments = {name: None if delta is None else now + delta for name, delta in times.items()}
    Poll.objects.filter(pk=poll.pk).update(**moments)


MINUTE = timedelta(minutes=1)


def test_a_poll_opens_and_closes_on_schedule() -> None:
    poll = make_poll()
    at(poll, opens_at=MINUTE, closes_at=2 * MINUTE)
    assert lifecycle.run_due_steps() == []
    at(poll, opens_at=-MINUTE)
    planned = again(poll).opens_at
    assert lifecycle.run_due_steps() == [poll.pk]
    assert (again(poll).state, again(poll).opens_at) == (State.OPEN, planned)
    assert lifecycle.run_due_steps() == []
    at(poll, closes_at=-MINUTE)
    assert lifecycle.run_due_steps() == [poll.pk]
    assert again(poll).state == State.CLOSING
    assert lifecycle.run_due_steps() == []


def test_the_schedule_goes_by_the_logs_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is an hour ahead opens and closes nothing early."""
    poll, other = make_poll(), open_poll()
    at(poll, opens_at=30 * MINUTE)
    at(other, closes_at=30 * MINUTE)
    wrong = timezone.now() + 60 * MINUTE
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    assert lifecycle.run_due_steps() == []
    by_hand = lifecycle.open_poll(poll.pk)
    assert by_hand.opens_at and by_hand.opens_at < wrong - 50 * MINUTE


def test_a_new_time_is_compared_with_the_logs_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = timezone.now() + 30 * MINUTE
    monkeypatch.setattr(clock, "_offset", 0.0)
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)
    with pytest.raises(Malformed):
        make_poll(closes_at=soon)
    votelog.learn_clock()
    assert make_poll(closes_at=soon).closes_at == soon


def test_manual_steps_are_dated_by_the_logs_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a host's own clock that is behind, a round would end before it began."""
    ended, official = open_poll(), in_state(State.CLOSED)
    wrong = timezone.now() - 60 * MINUTE
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    lifecycle.reset_poll(ended.pk)
    round_ = Round.objects.get(poll=ended)
    assert round_.opened_at <= round_.closed_at
    published = lifecycle.publish_poll(official.pk)
    assert published.closed_at <= published.published_at


def test_opening_by_hand_overrides_the_schedule() -> None:
    poll = make_poll()
    at(poll, opens_at=MINUTE, closes_at=2 * MINUTE)
    poll = lifecycle.open_poll(poll.pk)
    assert poll.opens_at and poll.opens_at <= timezone.now()
    assert codes(new_ballot(poll, 1, 1)) == ["accepted"]


def test_no_ballot_is_accepted_after_the_planned_end_even_if_the_poll_is_open() -> None:
    poll = open_poll(closes_at=timezone.now() + MINUTE)
    assert codes(new_ballot(poll, 1, 1)) == ["accepted"]
    past = int(timezone.now().timestamp() * 1000) - 1
    votelog.get_log().open(poll.pk, Gate(1, open=True, closes_at=past))  # as if the minute were over
    assert again(poll).state == State.OPEN
    assert codes(new_ballot(poll, 2, 1)) == ["poll_not_open"]
    poll = lifecycle.close_poll(poll.pk)
    count()
    closed_at = again(poll).closed_at
    assert closed_at and int(closed_at.timestamp() * 1000) == past


def test_a_draft_whose_closing_time_has_passed_stays_a_draft() -> None:
    poll = make_poll()
    at(poll, opens_at=-2 * MINUTE, closes_at=-MINUTE)
    assert lifecycle.run_due_steps() == []
    with pytest.raises(IllegalState, match="closing time"):
        lifecycle.open_poll(poll.pk)


def test_a_poll_that_can_not_open_delays_no_other() -> None:
    senseless, broken, sound = make_poll(), make_poll(), make_poll()
    for poll in (senseless, broken, sound):
        at(poll, opens_at=-MINUTE)
    Choice.objects.filter(poll=senseless).delete()
    Poll.objects.filter(pk=broken.pk).update(method="forgotten")
    assert lifecycle.run_due_steps() == [sound.pk]


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


# --- crashes between the intent and the gates ---


@pytest.fixture
def without_gates(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Poll]:
    """Take a step and crash before the gates are set."""

    def take(step: Callable[[int], Poll], poll: Poll) -> Poll:
        with monkeypatch.context() as patch:
            patch.setattr(lifecycle, "_set_gates", lambda _: None)
            poll = step(poll.pk)
        assert not again(poll).gates_set
        return poll

    return take


def test_an_interrupted_opening_is_finished(without_gates: Callable[..., Poll]) -> None:
    poll = without_gates(lifecycle.open_poll, make_poll())
    assert codes(new_ballot(poll, 1, 1)) == ["poll_not_open"]
    lifecycle.set_missing_gates()
    assert again(poll).gates_set
    assert codes(new_ballot(poll, 1, 1)) == ["accepted"]


def test_an_interrupted_closing_is_finished(without_gates: Callable[..., Poll]) -> None:
    poll = without_gates(lifecycle.close_poll, open_poll())
    assert codes(new_ballot(poll, 1, 1)) == ["accepted"]  # the gate decides, and is still open
    tasks.sweep()
    assert codes(new_ballot(poll, 2, 1)) == ["poll_not_open"]
    tasks.sweep()
    assert (again(poll).state, again(poll).gates_set) == (State.CLOSED, True)
    assert check_books(poll)[1, "ballots"] == 1
    assert Round.objects.get(poll=poll).result["ballots"] == 1


def test_an_interrupted_reset_is_finished(without_gates: Callable[..., Poll]) -> None:
    poll = without_gates(lifecycle.reset_poll, open_poll())
    assert codes(new_ballot(poll, 1, 1, round=1)) == ["accepted"]
    lifecycle.set_missing_gates()
    assert codes(new_ballot(poll, 2, 1, round=1)) == ["round_changed"]
    assert codes(new_ballot(poll, 2, 1, round=2)) == ["poll_not_open"]
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1}


def test_gates_are_set_when_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = make_poll()

    def fail(*_: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(votelog.get_log()), "open", fail)
        poll = lifecycle.open_poll(poll.pk)
        assert (poll.state, poll.gates_set) == (State.OPEN, False)
        lifecycle.set_missing_gates()
        assert not again(poll).gates_set
    lifecycle.set_missing_gates()
    assert again(poll).gates_set
    assert codes(new_ballot(poll, 1, 1)) == ["accepted"]


def test_late_gates_do_not_undo_a_newer_step(without_gates: Callable[..., Poll]) -> None:
    opened = without_gates(lifecycle.open_poll, make_poll())
    closed = lifecycle.close_poll(opened.pk)
    lifecycle._set_gates(opened)  # the process that opened it resumes only now
    assert codes(new_ballot(opened, 1, 1)) == ["poll_not_open"]
    count()
    lifecycle.reset_poll(opened.pk)
    poll = lifecycle.open_poll(opened.pk)
    for late in (opened, closed):
        lifecycle._set_gates(late)
    assert codes(new_ballot(poll, 1, 1, round=2)) == ["accepted"]
    assert again(poll).gates_set


def test_late_gates_do_not_count_as_those_of_a_newer_step(
    without_gates: Callable[..., Poll],
) -> None:
    opened = without_gates(lifecycle.open_poll, make_poll())
    without_gates(lifecycle.close_poll, opened)
    lifecycle._set_gates(opened)
    assert not again(opened).gates_set
    assert codes(new_ballot(opened, 1, 1)) == ["accepted"]
    lifecycle.set_missing_gates()
    assert codes(new_ballot(opened, 2, 1)) == ["poll_not_open"]


def test_a_failing_receiver_does_not_fail_the_step() -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no channel layer")

    poll = make_poll()
    poll_changed.connect(fail)
    try:
        poll = lifecycle.open_poll(poll.pk)
    finally:
        poll_changed.disconnect(fail)
    assert codes(new_ballot(poll, 1, 1)) == ["accepted"]


@pytest.mark.django_db(transaction=True)
def test_a_step_can_not_be_part_of_a_larger_transaction() -> None:
    """Otherwise its gates would be set before the commit."""
    poll = make_poll()
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        lifecycle.open_poll(poll.pk)
    assert again(poll).state == State.DRAFT
