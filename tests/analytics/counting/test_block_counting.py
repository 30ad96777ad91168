"""Blocks of ballots are counted in columns. A batch may mix polls, rounds and closing markers."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.counting import ballot_rows, tally_deltas
from analytics.counting import block_counting as counting
from analytics.models import Checkpoint, TallyPoint
from polls import lifecycle
from polls.models import DeadLetter, Poll, State
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from polls.votelog.entries import Block
from tests.analytics.counting.blocks import T0, ballot_ids, block_of, letters
from tests.factories import append, check_books, count, fill, new_ballot, open_poll

pytestmark = pytest.mark.django_db


@pytest.fixture
def short_way_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(*_: Any) -> Any:
        raise AssertionError("these ballots must stay in columns")

    monkeypatch.setattr(ballot_rows, "_insert_missing", too_long)
    monkeypatch.setattr(Block, "entries", too_long)


@pytest.mark.usefixtures("short_way_only")
def test_plain_ballots_stay_in_columns() -> None:
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


def test_a_voter_may_vote_in_several_polls_and_rounds() -> None:
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


def test_a_batch_may_need_several_statements_for_its_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_deltas, "_ROWS", 4)
    poll = open_poll(choices=20)
    blocks = [
        block_of(poll, range(n, n + 20), [str(1 + v) for v in range(20)], first=n + 1, at=T0 + n * 100)
        for n in range(0, 100, 20)
    ]
    counting.count_blocks(0, blocks)
    assert check_books(poll) == {(1, "ballots"): 100} | {(1, str(number)): 5 for number in range(1, 21)}


@pytest.mark.usefixtures("each_log")
def test_a_batch_may_mix_polls_rounds_and_markers() -> None:
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
    assert count() == 30 + 60 + 9 + 1 + 10 + get_log().partitions  # one closing marker per partition
    assert check_books(polls[0]) == {(1, "ballots"): 50, (1, "1"): 31, (1, "2"): 19}
    assert check_books(polls[1]) == {(1, "ballots"): 20, (1, "1"): 10, (1, "2"): 10}
    assert check_books(again) == {
        (1, "ballots"): 20, (1, "1"): 10, (1, "2"): 10, (2, "ballots"): 10, (2, "3"): 10,
    }  # fmt: skip
    assert [reason for _, reason in letters()] == ["invalid_selection"]
    assert Poll.objects.get(pk=polls[0].pk).state == State.CLOSED


@pytest.mark.usefixtures("each_log")
@pytest.mark.parametrize("batch", [1, 10, 1000])
def test_batches_end_at_the_end_of_a_block(settings: Any, batch: int) -> None:
    settings.COUNT_BATCH = batch
    poll = open_poll()
    for start in range(0, 60, 12):
        fill(poll, range(start, start + 12))
    assert count() == 60
    assert check_books(poll)[1, "ballots"] == 60
    heads = get_log().heads()
    assert all(row.position == heads[row.partition].position for row in Checkpoint.objects.all())
