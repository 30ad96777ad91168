"""Gates of the vote log after a crash, a failure of the store, or a late process."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from analytics import tasks
from polls import lifecycle, votelog
from polls.models import Poll, Round, State
from polls.signals import ballots_appended, poll_changed
from tests.factories import check_books, count, make_poll, new_ballot, open_poll
from tests.polls.steps import again, codes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log")]


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


def test_a_worker_that_counts_the_last_ballots_at_once_leaves_no_gate_missing() -> None:
    """In embedded mode a poll may be closed before `close_poll` has noted that its gates are shut."""
    poll = open_poll()
    ballots_appended.connect(count_at_once := lambda **_: count())
    try:
        # Otherwise the admin would say that the vote log doesn't answer.
        assert lifecycle.close_poll(poll.pk).gates_set
    finally:
        ballots_appended.disconnect(count_at_once)
    assert (again(poll).state, again(poll).gates_set) == (State.CLOSED, True)
