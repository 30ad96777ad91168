"""Each ballot is inserted once. Ballots that are already in the ledger are recognised."""

import time

import pytest
from django.db import connection

from analytics.counting import ballot_rows
from analytics.counting import block_counting as counting
from analytics.counting.quarantine_assignment import BlocksByDecision
from analytics.models import Tally, TallyPoint
from polls.models import Ballot, DeadLetter
from tests.analytics.counting.blocks import T0, ballot_ids, block_of, key, letters
from tests.factories import check_books, open_poll

pytestmark = pytest.mark.django_db


@pytest.mark.full_only
def test_rows_are_in_the_order_of_voters_not_of_arrival() -> None:
    poll = open_poll()
    counting.count_blocks(0, [block_of(poll, [7, 3, 9, 1], "1112"), block_of(poll, [8, 2], "21", first=5)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT voter_key FROM polls_ballot ORDER BY ctid")
        assert [int.from_bytes(row[0], "big") for row in cursor.fetchall()] == [1, 2, 3, 7, 8, 9]


def test_a_block_in_two_batches_counts_once() -> None:
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


def test_a_block_twice_in_one_batch_counts_once() -> None:
    poll = open_poll()
    block = block_of(poll, range(20), ["1"] * 20)
    counting.count_blocks(0, [block, block_of(poll, range(20), ["1"] * 20, 21, ballot_ids=block.ballot_ids)])
    assert check_books(poll) == {(1, "ballots"): 20, (1, "1"): 20}
    assert not DeadLetter.objects.exists()


def test_a_voter_with_another_ballot_in_the_ledger_stops_nobody_else() -> None:
    poll, other = open_poll(), open_poll()
    # The voter has another ballot in the ledger, as after counting a dead letter.
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


def test_after_a_conflict_existing_ballots_are_looked_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
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
