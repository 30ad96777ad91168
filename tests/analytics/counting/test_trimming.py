"""Log entries are trimmed a minute after they were counted."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from analytics.models import Checkpoint
from polls.errors import Unavailable
from polls.votelog import get_log
from polls.votelog.entries import entries_of
from tests.factories import (
    check_books,
    count,
    fill,
    open_poll,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log"), pytest.mark.both_logs]


def in_log() -> int:
    log = get_log()
    return sum(len(entries_of(log.read(partition, 0, 1000))) for partition in range(log.partitions))


def a_minute_passes() -> None:
    noted = Checkpoint.objects.exclude(trim_noted_at=None)
    noted.update(trim_noted_at=F("trim_noted_at") - timedelta(minutes=1))


def test_entries_are_trimmed_a_minute_after_they_were_counted() -> None:
    poll = open_poll()
    fill(poll, range(30))
    count()
    assert in_log() == 30
    a_minute_passes()
    fill(poll, range(30, 50))
    count()
    assert in_log() in range(20, 51)
    a_minute_passes()
    count()
    a_minute_passes()
    count()
    assert in_log() == 0
    fill(poll, range(50, 60))
    count()
    assert check_books(poll)[1, "ballots"] == 60


def test_an_idle_log_is_emptied_and_then_left_alone() -> None:
    poll = open_poll()
    fill(poll, range(30))
    for _ in range(4):
        count()
        a_minute_passes()
    assert in_log() == 0
    assert not Checkpoint.objects.exclude(trim_noted_at=None).exists()


def test_a_log_that_refuses_to_be_trimmed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise Unavailable()

    def some_minutes() -> None:
        for _ in range(3):
            a_minute_passes()
            count()

    poll = open_poll()
    fill(poll, range(30))
    count()
    with monkeypatch.context() as patch:
        patch.setattr(type(get_log()), "trim", full)
        fill(poll, range(30, 50))
        some_minutes()
    assert check_books(poll)[1, "ballots"] == in_log() == 50
    some_minutes()
    assert in_log() == 0


def test_nothing_is_trimmed_within_a_minute() -> None:
    poll = open_poll()
    for number in range(5):
        fill(poll, range(number * 10, number * 10 + 10))
        count()
    assert in_log() == 50
    noted = Checkpoint.objects.exclude(trim_noted_at=None).first()
    assert noted and noted.trim_noted_at and timezone.now() - noted.trim_noted_at < timedelta(minutes=1)
