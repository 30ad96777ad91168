"""Polls that open and close on schedule, by the vote log's clock."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from polls import clock, lifecycle, votelog
from polls.errors import IllegalState, Malformed
from polls.models import Choice, Poll, Round, State
from polls.votelog.admission import Gate
from tests.factories import count, make_poll, new_ballot, open_poll
from tests.polls.steps import again, codes, in_state

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log")]


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
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)
    monkeypatch.setattr(clock, "_ahead", ahead - time.monotonic())  # the log's clock hasn't been read yet
    with pytest.raises(Malformed):
        make_poll(closes_at=soon)
    votelog.sync_clock()
    assert make_poll(closes_at=soon).closes_at == soon


def test_manual_steps_are_dated_by_the_logs_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of a host that is behind, a round would end before it began."""
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
