"""Makes demo polls in every state. Their ballots are cast and counted like those of other polls.

Seeding again finishes an interrupted run and changes nothing else. Seeding adds no votes to a complete demo
poll. It doesn't change a poll that somebody has reset, closed or published, or a poll that has a demo poll's
code but another question.
"""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.counting import batches, closing
from analytics.counting.checkpoints import are_counted
from analytics.results import tallies
from polls import drafts, lifecycle
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.errors import LandslideError
from polls.methods import get_method
from polls.models import Poll, State
from polls.votelog import get_log
from polls.voters import identity

_AT_ONCE = 16
_COUNT_SECONDS = 20


class SeedFailed(LandslideError):
    code = "seed_failed"
    status = 503
    title = _("The demo polls could not be made")


@dataclass(frozen=True)
class DemoPoll:
    """A demo poll: its state and its voters' preferences."""

    code: str
    question: str
    choices: dict[str, int]  # the weight of each choice in the random votes, by label
    state: State = State.OPEN
    ballots: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seeded:
    poll: Poll
    made: bool
    ours: bool


DEMO_POLLS = (
    DemoPoll(
        "DEMO",
        "Where should we meet next year?",
        {"Lisbon": 3, "Helsinki": 2, "Montréal": 2, "Nairobi": 3, "Kyoto": 4},
        fields={"revote": True},
    ),
    DemoPoll(
        "TALKS",
        "What would you stay an extra hour for?",
        {
            "Lightning talks by first-time speakers": 6,
            "A workshop on charts that everyone can read": 4,
            "A walk through the control room": 5,
            "Questions to the organisers": 2,
            "Board games and leftovers": 7,
        },
        ballots=40,
        fields={"method": "multiple", "max_selections": 3, "revote": True},
    ),
    DemoPoll(
        "FINAL",
        "Which act wins tonight?",
        {"The Night Ferry": 5, "Paper Lanterns": 4, "Ida and the Tides": 4, "Slow Copper": 2},
        ballots=40,
        fields={"results_visible": "after_close"},
    ),
    DemoPoll(
        "SESSIONS",
        "How were this morning's sessions?",
        {"Opening by the mayor": 3, "Charts that everyone can read": 6, "Coffee": 4},
        ballots=40,
        fields={
            "method": "rating",
            "config": {"style": "stars", "low_label": "poor", "high_label": "excellent"},
            "revote": True,
        },
    ),
    DemoPoll(
        "TOMORROW",
        "Which song do we close the night with?",
        {
            "The one everybody knows": 1,
            "The one from the long drive home": 1,
            "The slow one": 1,
            "Something we have never heard": 1,
        },
        State.DRAFT,
    ),
    DemoPoll(
        "ROBOT",
        "What do we call the office robot?",
        {"Crumb": 6, "Captain Dust": 5, "Marvin": 3, "Sir Sweeps": 2},
        State.CLOSED,
        ballots=60,
    ),
    DemoPoll(
        "MENU",
        "Which dishes belong on the summer menu?",
        {
            "Grilled peaches with basil": 5,
            "Cold cucumber soup": 2,
            "Tomato bread": 7,
            "Lemon risotto": 4,
            "Potato salad": 5,
            "Watermelon and feta": 6,
        },
        State.PUBLISHED,
        ballots=60,
        fields={"method": "multiple", "min_selections": 1, "max_selections": 3},
    ),
)


def seed() -> Iterator[Seeded]:
    """Make the missing demo polls. Yield every demo poll. Raise SeedFailed if ballots are refused."""
    for demo in DEMO_POLLS:
        poll = Poll.objects.filter(code=demo.code).first()
        made = poll is None
        if poll is None:
            poll = _create(demo)
        # A poll with a second round or another question has become somebody's own poll.
        ours = poll.round == 1 and poll.question == demo.question
        if ours:
            _bring_on(poll, demo)
            poll.refresh_from_db()
        yield Seeded(poll, made, ours)


def _create(demo: DemoPoll) -> Poll:
    fields = dict(demo.fields)
    if demo.state == State.DRAFT:
        tomorrow = timezone.localtime() + timedelta(days=1)
        fields["opens_at"] = tomorrow.replace(hour=18, minute=0, second=0, microsecond=0)
    return drafts.create_poll(list(demo.choices), code=demo.code, question=demo.question, **fields)


def _bring_on(poll: Poll, demo: DemoPoll) -> None:
    """Take the poll step by step to its demo state. Skip the steps that an earlier run has taken."""
    ends = demo.state in (State.CLOSED, State.PUBLISHED)
    if poll.state == State.DRAFT and demo.state != State.DRAFT:
        poll = lifecycle.open_poll(poll.pk)
    if poll.state == State.OPEN and demo.state != State.DRAFT:
        _cast_missing(poll, demo)
        if ends:
            poll = lifecycle.close_poll(poll.pk)
    if poll.state == State.CLOSING and ends:
        _count()
        poll.refresh_from_db()
    if poll.state == State.CLOSED and demo.state == State.PUBLISHED:
        lifecycle.publish_poll(poll.pk)


def _cast_missing(poll: Poll, demo: DemoPoll) -> None:
    if not demo.ballots:
        return
    _count()
    existing = tallies.snapshot(poll).counts.get(tallies.BALLOTS, 0)
    ballots = list(_ballots(poll, demo))[existing:]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda ballot: _cast(demo.code, ballot), ballots))
    _count()


def _ballots(poll: Poll, demo: DemoPoll) -> Iterator[dict[str, Any]]:
    """Yield the same ballots in each run, so that a run can continue an interrupted run."""
    rng, method, rules = random.Random(demo.code), get_method(poll.method), poll.method_rules()
    liking = {choice.number: demo.choices.get(choice.label, 1) for choice in poll.choices.all()}
    for _ballot in range(demo.ballots):
        yield {method.field: method.sample(rules, liking, rng)}


def _cast(code: str, ballot: dict[str, Any]) -> None:
    """Cast a ballot like a browser with a new cookie."""
    body = json.dumps(ballot).encode()
    try:
        answer = cast_and_wait(
            CastRequest(code, body, "application/json", host="", cookie=identity.new_cookie())
        )
    finally:
        connection.close()  # each thread has its own database connection
    if answer.status != 202:
        raise SeedFailed(json.loads(answer.body)["detail"])


def _count() -> None:
    """Count the log's entries, as a worker does. If workers are counting them already, wait for them."""
    deadline = time.monotonic() + _COUNT_SECONDS
    heads = {partition: head.position for partition, head in get_log().heads().items()}
    while not are_counted(heads):
        for partition in heads:
            batches.count_partition(partition)
        if time.monotonic() > deadline:
            raise SeedFailed(
                _("The demo ballots are still not counted after %(s)s s.") % {"s": _COUNT_SECONDS}
            )
        time.sleep(0.02)
    closing.close_counted_polls()
