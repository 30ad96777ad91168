"""Ballots that race the end of voting: acknowledged ones are counted, and none is accepted late."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from analytics import tasks
from polls import lifecycle
from polls.models import Ballot, Poll, Round, State
from polls.votelog import get_log
from polls.votelog.entries import Entry, entries_of
from polls.voters import identity
from tests.factories import cast, check_books, count, open_poll
from tests.servers import wait_for
from tests.threads import Background, at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("each_log"),
    pytest.mark.both_logs,
]


class Crowd:
    """Threads of voters that cast once each, until a few have been told that the poll is not open."""

    def __init__(self, poll: Poll, threads: int = 6) -> None:
        self.poll = poll
        self.codes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._crowd = threading.Thread(target=lambda: at_once(self._vote, range(threads), threads))

    def _vote(self, _: int) -> None:
        refused = 0
        while refused < 3 and not self._stop.is_set():
            _, document = cast(self.poll, [1], identity.new_cookie(), round=1)
            code = document.get("code", document["status"])
            refused += code != "accepted"
            with self._lock:
                self.codes[code] += 1

    def __enter__(self) -> "Crowd":
        self._crowd.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self._stop.set()  # the poll won't be closed
        self._crowd.join()

    def wait_for_ballots(self, number: int) -> None:
        wait_for(lambda: self.codes["accepted"] >= number, what="ballots")


def log_of(poll: Poll) -> Iterator[list[Entry]]:
    for partition in range(get_log().partitions):
        entries = entries_of(get_log().read(partition, 0, 1_000_000))
        yield [entry for entry in entries if entry.poll_id == poll.pk]


def check_end(poll: Poll, crowd: Crowd) -> None:
    """Check that each accepted ballot is before the closing marker, counted, and part of the result."""
    poll.refresh_from_db()
    assert poll.state == State.CLOSED
    assert set(crowd.codes) == {"accepted", "poll_not_open"}
    for entries in log_of(poll):
        assert [entry.kind for entry in entries].index("close") == len(entries) - 1
    assert Ballot.objects.filter(poll_id=poll.pk).count() == crowd.codes["accepted"]
    assert check_books(poll)[1, "ballots"] == crowd.codes["accepted"]
    result = Round.objects.get(poll=poll, number=1).result
    assert result["ballots"] == crowd.codes["accepted"]


def test_ballots_race_a_manual_closing() -> None:
    poll = open_poll()
    with Background(count), Crowd(poll) as crowd:
        crowd.wait_for_ballots(30)
        lifecycle.close_poll(poll.pk)
    tasks.sweep()
    check_end(poll, crowd)


def test_ballots_race_the_planned_end() -> None:
    """The state stays open until all ballots are cast, so only the gate refuses late ballots."""
    poll = open_poll(closes_at=timezone.now() + timedelta(seconds=4))
    with Crowd(poll) as crowd:
        pass
    poll.refresh_from_db()
    assert poll.state == State.OPEN
    assert lifecycle.run_due_steps() == [poll.pk]
    tasks.sweep()
    tasks.sweep()
    check_end(poll, crowd)
    assert poll.closes_at
    ends = int(poll.closes_at.timestamp() * 1000)
    assert all(entry.at < ends for entries in log_of(poll) for entry in entries if entry.kind == "ballot")
    assert poll.closed_at
    assert abs((poll.closed_at - poll.closes_at).total_seconds()) < 0.001


def test_ballots_race_a_reset_and_a_new_round() -> None:
    poll = open_poll()
    codes: Counter[str] = Counter()
    done = threading.Event()

    def vote(_: int) -> list[str]:
        seen = []
        while not done.is_set():
            _, document = cast(poll, [1], identity.new_cookie(), round=1)
            seen.append(document.get("code", document["status"]))
            codes[seen[-1]] += 1
        return seen

    def reset() -> None:
        wait_for(lambda: codes["accepted"] >= 20, what="ballots")
        lifecycle.reset_poll(poll.pk)
        lifecycle.open_poll(poll.pk)
        wait_for(lambda: codes["round_changed"] >= 5, what="ballots of the old round in the new one")
        done.set()

    resetting = threading.Thread(target=reset)
    resetting.start()
    try:
        with Background(count):
            seen = Counter(code for codes in at_once(vote, range(4), 4) for code in codes)
    finally:
        done.set()
        resetting.join()
    count()
    assert set(seen) <= {"accepted", "poll_not_open", "round_changed"}
    assert Ballot.objects.filter(poll_id=poll.pk, round=1).count() == seen["accepted"]
    assert not Ballot.objects.filter(poll_id=poll.pk, round=2).exists()
    assert check_books(poll)[1, "ballots"] == seen["accepted"]


def test_concurrent_closings_close_once() -> None:
    poll = open_poll()

    def close(_: int) -> str:
        try:
            return lifecycle.close_poll(poll.pk).state
        except lifecycle.IllegalState as refusal:
            return refusal.code

    with Crowd(poll, threads=2) as crowd:
        crowd.wait_for_ballots(5)
        states = at_once(close, range(4), 4)
    tasks.sweep()
    assert Counter(states) == {"closing": 1, "illegal_state": 3}
    check_end(poll, crowd)
