"""Lifecycle steps for tests."""

from collections.abc import Callable
from typing import Any

from polls import lifecycle
from polls.models import Poll, State
from tests.factories import append, count, make_poll

STEPS: dict[str, Callable[[int], Poll]] = {
    "open": lifecycle.open_poll,
    "close": lifecycle.close_poll,
    "publish": lifecycle.publish_poll,
    "reset": lifecycle.reset_poll,
}


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
