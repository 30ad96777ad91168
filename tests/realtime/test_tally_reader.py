"""Incremental reads of a tally give the same bytes as a first read."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from analytics.counting import tally_deltas
from analytics.results import documents, tallies
from polls import drafts, lifecycle
from polls.errors import IllegalState
from polls.models import Poll, State, Visibility
from realtime.protocol import build_frames
from realtime.tally_reader import Reading, TallyReader, read_poll
from tests.factories import make_poll, open_poll
from tests.realtime.viewers import db

pytestmark = [pytest.mark.django_db, pytest.mark.early]

LABELS = ["Ant", 'Bee "B"', "<Cat> & Co", "Dög", "🦆", "back\\slash", "שלום", "/"]


def vote(poll: Poll, chance: random.Random) -> None:
    """Change the tally as a batch does, sometimes without changing a sum."""
    delta = tally_deltas.Delta()
    for key in chance.sample(["1", "2", "3", "77", tallies.BALLOTS], 3):
        delta.tally[poll.pk, poll.round][key] += chance.choice([0, 1, 7, 10**9])
    with transaction.atomic():
        tally_deltas.add(chance.randrange(3), delta)


def relabel(poll: Poll, chance: random.Random) -> None:
    labels = chance.sample(LABELS, chance.randint(2, 4))
    most = 1 if poll.method == "single" else chance.randint(1, len(labels))
    drafts.change_poll(poll.pk, labels, question=chance.choice(LABELS), max_selections=most)


def show_to(poll: Poll, chance: random.Random) -> None:
    Poll.objects.filter(pk=poll.pk).update(results_visible=chance.choice(Visibility.values))
    lifecycle.bump_revision(poll.pk)


def recount(poll: Poll, chance: random.Random) -> None:
    Poll.objects.filter(pk=poll.pk).update(epoch=F("epoch") + 1)


def finish(poll: Poll, chance: random.Random) -> None:
    lifecycle.finish_closing(poll.pk, poll.round, chance.randrange(2 * 10**12), {})


def step(name: str) -> Callable[[Poll, random.Random], Any]:
    return lambda poll, chance: lifecycle.STEPS[name](poll.pk)


def nothing(poll: Poll, chance: random.Random) -> None:
    pass


CHANGES = [vote, vote, vote, nothing, relabel, show_to, recount, finish, *map(step, lifecycle.STEPS)]


@pytest.mark.parametrize(("seed", "method"), [(0, "single"), (1, "multiple"), (2, "multiple")])
def test_incremental_reads_equal_fresh_reads(seed: int, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PUBLISH_WAIT_SECONDS", 0)
    chance, poll = random.Random(seed), make_poll(method=method)
    last: Reading | None = None
    states = set()
    for _ in range(150):
        try:
            chance.choice(CHANGES)(Poll.objects.get(pk=poll.pk), chance)
        except IllegalState:
            continue
        last = read_poll(poll.pk, last)
        fresh = tallies.snapshot_of(poll.code)
        assert last.frames == build_frames(fresh)
        assert tallies.stamps([poll.pk]) == {poll.pk: last.frames.stamp}
        if last.frames.document is not None:
            assert last.frames.document == msgspec.json.encode(documents.document(fresh, visible=True))
        states.add(fresh.poll.state)
    assert State.CLOSED in states, "no poll was closed in this history"


def test_a_tally_is_read_in_one_statement(django_assert_num_queries: Any) -> None:
    poll = open_poll()
    before = read_poll(poll.pk, None)
    for _ in range(3):
        vote(poll, random.Random(1))
        with django_assert_num_queries(1):
            after = read_poll(poll.pk, before)
        assert after.snap.poll is before.snap.poll
        assert after.frames.state is before.frames.state
        assert after.frames.stamp > before.frames.stamp
        before = after


def test_an_unchanged_poll_is_not_encoded_again(django_assert_num_queries: Any) -> None:
    poll = open_poll()
    before = read_poll(poll.pk, None)
    with django_assert_num_queries(1):
        assert read_poll(poll.pk, before) is before


def test_a_poll_that_changes_during_a_read_is_read_again() -> None:
    """Poll and choices are read in two statements, but shown as of one moment."""
    poll = make_poll()
    last = read_poll(poll.pk, None)
    lifecycle.open_poll(poll.pk)
    undisturbed = True

    def disturb(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal undisturbed
        if undisturbed and "polls_choice" in sql:
            undisturbed = False
            with transaction.atomic():
                poll.choices.filter(number=1).update(label="Changed")
                lifecycle.bump_revision(poll.pk)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(disturb):
        read = read_poll(poll.pk, last)
    assert not undisturbed
    assert read.snap.poll.state == State.OPEN
    assert read.frames == build_frames(tallies.snapshot_of(poll.code))


def test_reading_a_deleted_poll_raises() -> None:
    poll = make_poll()
    last = read_poll(poll.pk, None)
    drafts.delete_poll(poll.pk)
    with pytest.raises(Poll.DoesNotExist):
        read_poll(poll.pk, last)


@pytest.mark.full_only
@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_the_database_connection_is_kept_between_reads_given_back_and_replaced() -> None:
    poll = await db(open_poll)()
    reader = TallyReader()
    held = partial(reader._run, lambda: connection.connection and connection.connection.info.backend_pid)
    try:
        last = await reader.read(poll.pk, None)
        first = await held()
        assert await reader.read(poll.pk, last) is last
        assert first and await held() == first
        await db(terminate)(first)
        with pytest.raises(OperationalError):
            await reader.read(poll.pk, last)
        assert await held() is None
        assert await reader.read(poll.pk, last) is last
        assert await held() not in (None, first)
        assert await reader.stamps([poll.pk]) == {poll.pk: last.frames.stamp}
        assert await held() is None
    finally:
        reader.stop()


def terminate(backend: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
