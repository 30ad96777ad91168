"""Checkpoints say which log the database counts from. Nothing is counted from any other log."""

import pytest

from analytics import tasks
from analytics.counting import (
    batches,
    checkpoints,
)
from analytics.models import Checkpoint
from polls import lifecycle, votelog
from polls.errors import LogInconsistent
from polls.votelog import get_log
from polls.votelog.entries import Head
from tests.factories import (
    check_books,
    count,
    fill,
    make_poll,
    open_poll,
    tallied,
)
from tests.threads import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log"), pytest.mark.both_logs]


def test_nothing_is_counted_from_another_log_or_an_older_copy() -> None:
    poll = open_poll()
    fill(poll, range(40), 1)
    for change in ({"generation": "ffff"}, {"position": 1_000_000}):
        kept = list(Checkpoint.objects.values("partition", "generation", "position"))
        Checkpoint.objects.update(**change)
        for partition in range(get_log().partitions):
            with pytest.raises(LogInconsistent):
                batches.count_partition(partition)
        for row in kept:
            Checkpoint.objects.filter(partition=row["partition"]).update(**row)
    assert tallied(poll) == {}
    count()
    assert check_books(poll)[1, "ballots"] == 40


@pytest.mark.parametrize("lost", [3, 10_000])
def test_nothing_is_counted_after_a_gap(lost: int) -> None:
    """Counting must stop, and not skip entries that were lost before they were counted."""
    poll, log = open_poll(), get_log()
    for voter in range(40):  # blocks of one ballot, since a log may only trim whole blocks
        fill(poll, range(voter, voter + 1), 1)
    for partition in range(log.partitions):
        log.trim(partition, lost)
        with pytest.raises(LogInconsistent):
            batches.count_partition(partition)
    assert tallied(poll) == {}


def test_a_partition_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    poll = open_poll()
    fill(poll, range(40), 1)
    Checkpoint.objects.filter(partition=0).update(generation="ffff")
    tasks.sweep()
    per_partition = dict(Checkpoint.objects.values_list("partition", "position"))
    assert per_partition.pop(0) == 0
    assert all(per_partition.values())
    assert "log_inconsistent" in caplog.text


def test_the_first_use_makes_the_log_and_its_checkpoints() -> None:
    poll = make_poll()
    assert not Checkpoint.objects.exists()
    lifecycle.open_poll(poll.pk)
    made = {row.partition: Head(row.generation, row.position) for row in Checkpoint.objects.all()}
    assert made == get_log().heads() == checkpoints.expected_heads()
    assert len({head.generation for head in made.values()}) == get_log().partitions
    checkpoints.verify()


def test_the_backlog_is_the_number_of_uncounted_entries() -> None:
    poll = open_poll()
    fill(poll, range(25))
    assert checkpoints.backlog() == 25
    count()
    assert checkpoints.backlog() == 0


@pytest.mark.django_db(transaction=True)
def test_several_processes_make_the_same_log() -> None:
    votelog.forget_log()
    heads = at_once(lambda _: checkpoints.expected_heads(), range(6), threads=6)
    assert all(each == heads[0] for each in heads)
    assert heads[0] == get_log().heads()
    assert len(heads[0]) == get_log().partitions
