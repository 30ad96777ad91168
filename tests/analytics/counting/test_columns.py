"""Ballots are counted in columns. What has to be looked at one by one comes to the same end."""

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analytics.counting import ballot_rows, circuit_breaker, tally_deltas
from analytics.counting import block_counting as counting
from analytics.counting.quarantine_assignment import BlocksByDecision
from analytics.counting.validation import Validator, split_block
from analytics.models import Checkpoint, Tally, TallyPoint
from polls import lifecycle
from polls.models import Ballot, DeadLetter, Poll, Round, State
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from polls.votelog.entries import Block, Entry, entries_of
from tests.factories import alone, append, check_books, count, fill, make_poll, new_ballot, open_poll

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
T0 = 1_700_000_000_000
ids = itertools.count(1)


def bounded(few: int) -> hypothesis_settings:
    """So few examples, the same each time; as many others as HUNT_EXAMPLES asks for."""
    return hypothesis_settings(
        max_examples=EXAMPLES or few,
    )


@pytest.fixture(autouse=True)
def _insert_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ballot_rows, "_check_first_until", 0.0)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def block_of(poll: Poll, voters: Sequence[int], picks: Sequence[str], first: int = 1, **given: Any) -> Block:
    keys = [key(voter) for voter in voters]
    ballot_ids = given.get("ballot_ids") or [key(next(ids)) for _ in voters]
    where = (first, "ballot", poll.pk, given.get("round", poll.round), given.get("at", T0))
    return Block(*where, keys, ballot_ids, list(picks), given.get("replaces"))


def letters() -> list[tuple[int, str]]:
    return sorted(DeadLetter.objects.values_list("position", "reason"))


def ballot_ids(poll: Poll) -> dict[int, bytes]:
    rows = Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key", "ballot_id")
    return {int.from_bytes(voter, "big"): bytes(ballot_id) for voter, ballot_id in rows}


@pytest.fixture
def short_way_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(*_: Any) -> Any:
        raise AssertionError("these ballots need no second look")

    monkeypatch.setattr(ballot_rows, "_insert_missing", too_long)
    monkeypatch.setattr(Block, "entries", too_long)


# --- the short way ---


@pytest.mark.usefixtures("short_way_only")
def test_ballots_that_are_alike_and_alone_make_no_objects() -> None:
    poll, other = open_poll(), open_poll(method="multiple", max_selections=2)
    blocks = [
        block_of(poll, range(300), ["1", "2", "3"] * 100),
        block_of(other, range(50), ["1,2"] * 50, first=301, at=T0 + 1000),
        block_of(poll, range(300, 310), ["3"] * 10, first=351, at=T0 + 2000),
    ]
    counting.count_blocks(0, blocks)
    assert check_books(poll) == {(1, "ballots"): 310, (1, "1"): 100, (1, "2"): 100, (1, "3"): 110}
    assert check_books(other) == {(1, "ballots"): 50, (1, "1"): 50, (1, "2"): 50}
    points = TallyPoint.objects.filter(poll_id=poll.pk, key="ballots").values_list("second", "count")
    assert dict(points) == {T0 // 1000: 300, T0 // 1000 + 2: 10}
    assert set(ballot_ids(poll).values()) == {*blocks[0].ballot_ids, *blocks[2].ballot_ids}


def test_the_number_of_statements_does_not_grow_with_the_ballots() -> None:
    poll = open_poll()
    statements = []
    for voters in (range(10), range(10, 1000)):
        block = block_of(poll, voters, ["1"] * len(voters))
        with CaptureQueriesContext(connection) as queries:
            counting.count_blocks(0, [block])
        statements.append(len(queries))
    assert statements[0] == statements[1] <= 8
    assert check_books(poll)[1, "ballots"] == 1000


@pytest.mark.full_only
def test_ballots_lie_in_the_order_of_voters_not_of_arrival() -> None:
    poll = open_poll()
    counting.count_blocks(0, [block_of(poll, [7, 3, 9, 1], "1112"), block_of(poll, [8, 2], "21", first=5)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT voter_key FROM polls_ballot ORDER BY ctid")
        assert [int.from_bytes(row[0], "big") for row in cursor.fetchall()] == [1, 2, 3, 7, 8, 9]


def test_a_voter_of_two_polls_and_two_rounds_is_another_voter_in_each() -> None:
    poll, other = open_poll(), open_poll()
    lifecycle.reset_poll(poll.pk)
    poll = lifecycle.open_poll(poll.pk)
    assert poll.round == 2
    blocks = [
        block_of(poll, [1, 2], ["1", "1"], round=1),
        block_of(other, [1, 2], ["2", "2"], first=3),
        block_of(poll, [1, 2], ["3", "3"], first=5),
    ]
    counting.count_blocks(0, blocks)
    assert check_books(poll) == {(1, "ballots"): 2, (1, "1"): 2, (2, "ballots"): 2, (2, "3"): 2}
    assert check_books(other) == {(1, "ballots"): 2, (1, "2"): 2}
    assert not DeadLetter.objects.exists()


# --- what is looked at one by one ---


def test_odd_ballots_are_picked_out_of_their_block() -> None:
    poll = open_poll(revote=True)
    counting.count_blocks(0, [block_of(poll, [1], ["1"], ballot_ids=[b"a" * 16])])
    block = block_of(
        poll,
        [2, 1, 3, 4, 5, 4, 6],
        ["1", "2", "99", "1", "1", "2", "1"],
        first=2,
        replaces=[None, b"a" * 16, None, None, None, None, None],
    )
    counting.count_blocks(0, [block])
    assert check_books(poll) == {(1, "ballots"): 5, (1, "1"): 4, (1, "2"): 1}
    assert letters() == [(4, "invalid_selection"), (7, "already_counted")]
    ids_of = ballot_ids(poll)
    assert (ids_of[1], ids_of[4]) == (block.ballot_ids[1], block.ballot_ids[3])


def test_one_odd_ballot_leaves_the_others_in_columns() -> None:
    poll = open_poll()
    validator = Validator({(poll.pk, 1)})
    plain, others = validator.split([block_of(poll, range(100), ["1"] * 50 + ["99"] + ["2"] * 49)])
    assert [(block.first, block.last) for block in plain] == [(1, 50), (52, 100)]
    assert [entry.position for entry in others] == [51]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.sets(st.integers(0, 5)))
def test_dividing_a_block_loses_and_moves_nothing(voters: list[int], odd: set[int]) -> None:
    block = Block(
        7, "ballot", 1, 1, T0, [key(voter) for voter in voters], [key(99 + i) for i in range(len(voters))],
        [str(i) for i in range(len(voters))], [None] * len(voters),
    )  # fmt: skip
    pieces, entries = split_block(block, {key(voter) for voter in odd})
    assert all(len(piece) for piece in pieces)
    assert sorted([*entries_of(pieces), *entries], key=lambda entry: entry.position) == block.entries()
    assert {entry.voter_key for entry in entries} == {key(voter) for voter in odd & {*voters}}
    assert not {entry.voter_key for entry in entries_of(pieces)} & {key(voter) for voter in odd}


# --- ballots that are there already ---


def test_a_block_that_comes_twice_counts_once() -> None:
    poll = open_poll()
    block = block_of(poll, range(20), ["1", "2"] * 10)
    again = block_of(poll, range(20), block.selections, first=21, ballot_ids=block.ballot_ids)
    counting.count_blocks(0, [block])
    before = check_books(poll)
    counting.count_blocks(0, [again])
    assert check_books(poll) == before == {(1, "ballots"): 20, (1, "1"): 10, (1, "2"): 10}
    counting.count_blocks(0, [block_of(poll, range(20, 30), ["3"] * 10, first=41), again])
    assert check_books(poll) == before | {(1, "ballots"): 30, (1, "3"): 10}
    assert not DeadLetter.objects.exists()


def test_a_block_that_comes_twice_in_one_batch_counts_once() -> None:
    poll = open_poll()
    block = block_of(poll, range(20), ["1"] * 20)
    counting.count_blocks(0, [block, block_of(poll, range(20), ["1"] * 20, 21, ballot_ids=block.ballot_ids)])
    assert check_books(poll) == {(1, "ballots"): 20, (1, "1"): 20}
    assert not DeadLetter.objects.exists()


def test_a_voter_who_is_in_the_ledger_with_another_ballot_stops_nobody_else() -> None:
    poll, other = open_poll(), open_poll()
    # As a dead letter leaves it that was counted before.
    Ballot.objects.create(poll_id=poll.pk, round=1, voter_key=key(5), ballot_id=b"x" * 16, selection="3")
    blocks = [
        block_of(poll, range(10), ["1"] * 10),
        block_of(other, range(10), ["2"] * 10, first=11),
        block_of(poll, range(10, 20), ["2"] * 10, first=21, at=T0 + 5000),
    ]
    counting.count_blocks(0, blocks)
    assert letters() == [(6, "already_counted")]
    assert ballot_ids(poll)[5] == b"x" * 16
    counts = Tally.objects.filter(poll_id=poll.pk).values_list("key", "count")
    assert dict(counts) == {"ballots": 19, "1": 9, "2": 10}
    points = TallyPoint.objects.filter(poll_id=poll.pk, key="ballots").values_list("second", "count")
    assert dict(points) == {T0 // 1000: 9, T0 // 1000 + 5: 10}
    assert check_books(other) == {(1, "ballots"): 10, (1, "2"): 10}


def test_after_a_conflict_it_looks_before_it_writes_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = open_poll()
    tries: list[int] = []
    insert_all = ballot_rows._insert_all

    def noted(groups: BlocksByDecision) -> None:
        tries.append(sum(len(block) for blocks in groups.values() for block in blocks))
        insert_all(groups)

    monkeypatch.setattr(ballot_rows, "_insert_all", noted)
    block = block_of(poll, range(5), ["1"] * 5)
    counting.count_blocks(0, [block])
    counting.count_blocks(0, [block])
    assert tries == [5, 5]
    counting.count_blocks(0, [block])
    counting.count_blocks(0, [block_of(poll, range(5, 9), ["2"] * 4)])
    assert tries == [5, 5]
    monkeypatch.setattr(ballot_rows, "_check_first_until", time.monotonic() - 0.001)
    counting.count_blocks(0, [block_of(poll, range(9, 12), ["2"] * 3)])
    assert tries == [5, 5, 3]
    assert check_books(poll) == {(1, "ballots"): 12, (1, "1"): 5, (1, "2"): 7}


# --- rules that are kept ---


def test_rules_are_read_once_for_many_batches_of_a_log() -> None:
    poll = open_poll()
    counting.count_blocks(0, [block_of(poll, [1], ["1"])], "a")
    with CaptureQueriesContext(connection) as queries:
        counting.count_blocks(0, [block_of(poll, [2], ["2"])], "a")
    assert not [query for query in queries if "polls_round" in query["sql"]]
    with CaptureQueriesContext(connection) as queries:
        counting.count_blocks(0, [block_of(poll, [3], ["2"])], "b")  # as after a database was put back
    assert [query for query in queries if "polls_round" in query["sql"]]
    assert check_books(poll)[1, "ballots"] == 3


def test_rules_are_read_anew_before_a_ballot_is_set_aside() -> None:
    poll = open_poll()
    counting.count_blocks(0, [block_of(poll, [1], ["1"])], "a")
    row = Round.objects.get(poll=poll)
    row.rules["numbers"].append(77)
    row.save()
    counting.count_blocks(0, [block_of(poll, [2, 3, 4], ["77", "78", "2"], first=2)], "a")
    assert letters() == [(3, "invalid_selection")]
    assert check_books(poll) == {(1, "ballots"): 3, (1, "1"): 1, (1, "2"): 1, (1, "77"): 1}


def test_a_batch_may_change_more_counts_than_one_statement_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_deltas, "_ROWS", 4)
    poll = open_poll(choices=20)
    blocks = [
        block_of(poll, range(n, n + 20), [str(1 + v) for v in range(20)], first=n + 1, at=T0 + n * 100)
        for n in range(0, 100, 20)
    ]
    counting.count_blocks(0, blocks)
    assert check_books(poll) == {(1, "ballots"): 100} | {(1, str(number)): 5 for number in range(1, 21)}


# --- through the log ---


@pytest.mark.usefixtures("each_log")
def test_polls_rounds_and_markers_are_mixed_in_a_batch() -> None:
    polls = [open_poll(revote=True) for _ in range(3)]
    first = fill(polls[0], range(30), 1)
    mixed = [new_ballot(polls[number % 3], 100 + number, 1 + number % 2) for number in range(60)]
    changed = [
        NewBallot(b.poll_id, b.voter_key, b"%016d" % n, "2", 1, b.ballot_id) for n, b in enumerate(first[:9])
    ]
    append(*mixed, *changed, new_ballot(polls[1], 300, 77))
    lifecycle.close_poll(polls[0].pk)
    lifecycle.reset_poll(polls[2].pk)
    again = lifecycle.open_poll(polls[2].pk)
    fill(again, range(10), 3)
    assert count() == 30 + 60 + 9 + 1 + 10 + get_log().partitions  # with a marker in each
    assert check_books(polls[0]) == {(1, "ballots"): 50, (1, "1"): 31, (1, "2"): 19}
    assert check_books(polls[1]) == {(1, "ballots"): 20, (1, "1"): 10, (1, "2"): 10}
    assert check_books(again) == {
        (1, "ballots"): 20, (1, "1"): 10, (1, "2"): 10, (2, "ballots"): 10, (2, "3"): 10,
    }  # fmt: skip
    assert [reason for _, reason in letters()] == ["invalid_selection"]
    assert Poll.objects.get(pk=polls[0].pk).state == State.CLOSED


@pytest.mark.usefixtures("each_log")
@pytest.mark.parametrize("batch", [1, 10, 1000])
def test_a_batch_ends_where_a_block_ends(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll()
    for start in range(0, 60, 12):
        fill(poll, range(start, start + 12))
    assert count() == 60
    assert check_books(poll)[1, "ballots"] == 60
    heads = get_log().heads()
    assert all(row.position == heads[row.partition].position for row in Checkpoint.objects.all())


# --- both ways come to the same end ---

SELECTIONS = ["1", "2", "3", "1,2", "77", "x", ""]


def everything() -> tuple[set[Any], ...]:
    """All that counting leaves behind, without the order of what has none."""
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
    """Batches of blocks (poll, round, at, ballots), with ballots (voter, ballot_id, selection, replaces)."""
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
def test_columns_and_single_ballots_come_to_the_same_end(monkeypatch: pytest.MonkeyPatch, wary: bool) -> None:
    polls = [open_poll(revote=True), open_poll(method="multiple", max_selections=2), make_poll()]
    ends: list[tuple[set[Any], ...]] = []
    monkeypatch.setattr(circuit_breaker, "MIN_FAILURES", 10**9)  # what fails is compared too

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


def test_a_log_without_oddities_is_counted_as_by_hand() -> None:
    """Against a model that knows neither blocks nor batches: each ballot by itself, one after the other."""
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
