"""Counting ballots in columns gives the same result as counting them one by one."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import transaction
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analytics.counting import ballot_rows, circuit_breaker
from analytics.counting import block_counting as counting
from analytics.counting.validation import Validator
from analytics.models import Tally, TallyPoint
from polls.models import Ballot, DeadLetter, Poll
from polls.votelog.entries import Block, Entry, entries_of
from tests.analytics.counting.blocks import T0, block_of, key, letters
from tests.factories import alone, check_books, make_poll, open_poll

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))


def bounded(few: int) -> hypothesis_settings:
    """Run `few` examples, the same each time, or as many random ones as HUNT_EXAMPLES says."""
    return hypothesis_settings(
        max_examples=EXAMPLES or few,
    )


SELECTIONS = ["1", "2", "3", "1,2", "77", "x", ""]


def everything() -> tuple[set[Any], ...]:
    """Return all rows that counting has written, as sets."""
    ballots = Ballot.objects.values_list("poll_id", "round", "voter_key", "ballot_id", "selection")
    found = DeadLetter.objects.values_list(
        "partition", "position", "poll_id", "round", "voter_key", "ballot_id", "selection", "replaces",
        "reason", "detail",
    )  # fmt: skip
    return (
        {tuple(map(_plain, row)) for row in ballots},
        set(Tally.objects.values_list("poll_id", "round", "key", "partition", "count", "changes")),
        set(TallyPoint.objects.values_list("poll_id", "round", "second", "key", "partition", "count")),
        {tuple(map(_plain, row)) for row in found},
    )


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def one_by_one(_: Validator, blocks: Sequence[Block]) -> tuple[list[Block], list[Entry]]:
    return [], entries_of(blocks)


@st.composite
def batches(draw: st.DrawFn) -> list[list[tuple[Any, ...]]]:
    """Draw batches of blocks (poll, round, at, ballots) of (voter, ballot_id, selection, replaces)."""
    ballot = st.tuples(
        st.integers(0, 6),
        st.integers(0, 8),
        st.sampled_from(SELECTIONS),
        st.none() | st.none() | st.none() | st.integers(0, 8),
    )
    ballots = st.lists(ballot, min_size=1, max_size=8)
    block = st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(0, 2), ballots)
    return draw(st.lists(st.lists(block, min_size=1, max_size=4), min_size=1, max_size=4))


def blocks_of(polls: Sequence[Poll], drawn: Sequence[Sequence[tuple[Any, ...]]]) -> Iterator[list[Block]]:
    position = 1
    for batch in drawn:
        made = []
        for poll, round_, second, ballots in batch:
            voters, ballot_ids, selections, replaces = zip(*ballots, strict=True)
            named = [None if one is None else key(one) for one in replaces]
            made.append(
                block_of(
                    polls[poll], voters, selections, position, round=round_, at=T0 + second * 1000,
                    ballot_ids=[key(one) for one in ballot_ids], replaces=named if any(named) else None,
                )
            )  # fmt: skip
            position = made[-1].last + 1
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("wary", [False, True])
def test_counting_in_columns_equals_counting_one_by_one(monkeypatch: pytest.MonkeyPatch, wary: bool) -> None:
    polls = [open_poll(revote=True), open_poll(method="multiple", max_selections=2), make_poll()]
    ends: list[tuple[set[Any], ...]] = []
    monkeypatch.setattr(circuit_breaker, "MIN_FAILURES", 10**9)  # so that failures are compared too

    def count_all(drawn: Any) -> None:
        monkeypatch.setattr(ballot_rows, "_check_first_until", time.monotonic() + 3600 if wary else 0.0)
        with transaction.atomic():
            for blocks in blocks_of(polls, drawn):
                counting.count_blocks(3, blocks)
                if not wary:
                    monkeypatch.setattr(ballot_rows, "_check_first_until", 0.0)
            ends.append(everything())
            transaction.set_rollback(True)

    @bounded(40)
    @given(batches())
    @example([[(0, 1, 0, [(1, 1, "1", None)])], [(0, 1, 0, [(1, 1, "1", None), (2, 2, "1", None)])]])
    @example([[(0, 1, 0, [(1, 1, "1", None)])], [(0, 1, 1, [(2, 2, "2", None), (1, 3, "2", None)])]])
    @example([[(0, 1, 0, [(1, 1, "77", None), (2, 2, "1", None), (1, 3, "2", 1)])]])
    def both_ways(drawn: Any) -> None:
        ends.clear()
        count_all(drawn)
        with monkeypatch.context() as patch:
            patch.setattr(Validator, "split", one_by_one)
            count_all(drawn)
        assert ends[0] == ends[1]

    both_ways()


def test_counting_equals_a_model_of_single_ballots() -> None:
    """The model counts one ballot after the other, without blocks and batches."""
    poll = open_poll(revote=True)
    casts = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["1", "2", "3", "77"])), max_size=30)

    @bounded(25)
    @given(casts, st.integers(1, 7), st.integers(1, 3))
    def counts(cast: list[tuple[int, str]], block_size: int, batch_size: int) -> None:
        claims: dict[int, bytes] = {}
        entries = []
        for position, (voter, selection) in enumerate(cast, 1):
            ballot_id = key(1000 + position)
            entries.append(
                Entry(position, "ballot", poll.pk, 1, T0, key(voter), ballot_id, selection, claims.get(voter))
            )
            claims[voter] = ballot_id
        by_hand = {voter: selection for voter, selection in cast if selection != "77"}
        blocks = [together(entries[i : i + block_size]) for i in range(0, len(entries), block_size)]
        with transaction.atomic():
            for i in range(0, len(blocks), batch_size):
                counting.count_blocks(0, blocks[i : i + batch_size])
            rows = Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key", "selection")
            assert {int.from_bytes(voter, "big"): selection for voter, selection in rows} == by_hand
            assert [position for position, _ in letters()] == [
                position for position, (_, selection) in enumerate(cast, 1) if selection == "77"
            ]
            check_books(poll)
            transaction.set_rollback(True)

    counts()


def together(entries: Sequence[Entry]) -> Block:
    if len(entries) == 1:
        return alone(entries[0])
    named = [entry.replaces for entry in entries]
    return Block(
        entries[0].position, "ballot", entries[0].poll_id, 1, T0,
        [entry.voter_key for entry in entries], [entry.ballot_id for entry in entries],
        [entry.selection for entry in entries], named if any(named) else None,
    )  # fmt: skip
