"""Ballots are validated by cached rules. Ballots that need a full check are split off their block."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from analytics.counting import block_counting as counting
from analytics.counting.validation import Validator, split_block
from polls.models import Round
from polls.votelog.entries import Block, entries_of
from tests.analytics.counting.blocks import T0, ballot_ids, block_of, key, letters
from tests.factories import check_books, open_poll

pytestmark = pytest.mark.django_db


def test_ballots_that_need_a_closer_look_are_split_off() -> None:
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


def test_an_invalid_ballot_leaves_the_others_in_columns() -> None:
    poll = open_poll()
    validator = Validator({(poll.pk, 1)})
    plain, others = validator.split([block_of(poll, range(100), ["1"] * 50 + ["99"] + ["2"] * 49)])
    assert [(block.first, block.last) for block in plain] == [(1, 50), (52, 100)]
    assert [entry.position for entry in others] == [51]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.sets(st.integers(0, 5)))
def test_splitting_a_block_keeps_every_ballot(voters: list[int], odd: set[int]) -> None:
    block = Block(
        7, "ballot", 1, 1, T0, [key(voter) for voter in voters], [key(99 + i) for i in range(len(voters))],
        [str(i) for i in range(len(voters))], [None] * len(voters),
    )  # fmt: skip
    pieces, entries = split_block(block, {key(voter) for voter in odd})
    assert all(len(piece) for piece in pieces)
    assert sorted([*entries_of(pieces), *entries], key=lambda entry: entry.position) == block.entries()
    assert {entry.voter_key for entry in entries} == {key(voter) for voter in odd & {*voters}}
    assert not {entry.voter_key for entry in entries_of(pieces)} & {key(voter) for voter in odd}


def test_rules_are_cached_for_later_batches_of_the_same_log() -> None:
    poll = open_poll()
    counting.count_blocks(0, [block_of(poll, [1], ["1"])], "a")
    with CaptureQueriesContext(connection) as queries:
        counting.count_blocks(0, [block_of(poll, [2], ["2"])], "a")
    assert not [query for query in queries if "polls_round" in query["sql"]]
    with CaptureQueriesContext(connection) as queries:
        counting.count_blocks(0, [block_of(poll, [3], ["2"])], "b")  # as after a restore of the database
    assert [query for query in queries if "polls_round" in query["sql"]]
    assert check_books(poll)[1, "ballots"] == 3


def test_rules_are_read_again_before_a_ballot_fails() -> None:
    poll = open_poll()
    counting.count_blocks(0, [block_of(poll, [1], ["1"])], "a")
    row = Round.objects.get(poll=poll)
    row.rules["numbers"].append(77)
    row.save()
    counting.count_blocks(0, [block_of(poll, [2, 3, 4], ["77", "78", "2"], first=2)], "a")
    assert letters() == [(3, "invalid_selection")]
    assert check_books(poll) == {(1, "ballots"): 3, (1, "1"): 1, (1, "2"): 1, (1, "77"): 1}
