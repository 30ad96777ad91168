"""An append triggers a worker once. Ballots appended while it works are counted too."""

import itertools
import threading
from typing import Any

import pytest
from celery import current_app
from django.core.cache import cache

from analytics import tasks
from analytics.counting import batches, cache_locks, checkpoints, triggers
from analytics.models import Pulse
from analytics.signals import tally_changed
from polls import lifecycle
from polls.models import Poll, State
from polls.votelog import get_log
from tests.factories import check_books, fill, make_poll, open_poll
from tests.servers import wait_for

#: Each test has partitions of its own: triggers of other tests' ballots may come late.
numbers = itertools.count(1000)


class Broker:
    def __init__(self) -> None:
        self.sent: list[int] = []
        self.away = False
        self.tried: list[int] = []

    def send_task(self, name: str, args: tuple[int], **_: Any) -> None:
        assert name in current_app.tasks
        self.tried.append(args[0])
        if self.away:
            raise ConnectionError("no broker")
        self.sent.append(args[0])


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(current_app, "send_task", broker.send_task)
    return broker


# These tests need only the cache, but in full mode that is the Redis that starts with the database.
pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> triggers.TriggerSender:
    """A sender whose flags don't expire during a test, even on a busy machine."""
    monkeypatch.setattr(triggers, "_PENDING_SECONDS", 3600)
    cache.clear()
    return triggers.TriggerSender()


@pytest.fixture
def one() -> int:
    return next(numbers)


def test_at_most_one_trigger_is_pending_for_each_partition(
    sender: triggers.TriggerSender, broker: Broker
) -> None:
    one, two, three = (next(numbers) for _ in range(3))
    for _ in range(5):
        sender.trigger({one, two})
    wait_for(lambda: {one, two} <= {*broker.sent})
    sender.trigger({one})
    sender.trigger({three})
    wait_for(lambda: three in broker.sent)
    assert [broker.sent.count(each) for each in (one, two, three)] == [1, 1, 1]


def test_a_served_trigger_allows_the_next_one(
    sender: triggers.TriggerSender, broker: Broker, one: int
) -> None:
    sender.trigger({one})
    wait_for(lambda: broker.sent.count(one) == 1)
    triggers.clear_pending(one)
    sender.trigger({one})
    wait_for(lambda: broker.sent.count(one) == 2)


def test_an_unreachable_broker_is_tried_again_with_the_next_ballot(
    sender: triggers.TriggerSender, broker: Broker, one: int
) -> None:
    broker.away = True
    sender.trigger({one})
    wait_for(lambda: one in broker.tried)
    broker.away = False
    # The failed trigger clears its flag a moment after it was tried.
    wait_for(lambda: cache.get(triggers._pending_key(one)) is None)
    sender.trigger({one})
    wait_for(lambda: one in broker.sent)


def test_sending_a_trigger_does_not_block(
    sender: triggers.TriggerSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, sent = threading.Event(), []
    first, *others = (next(numbers) for _ in range(10))

    def hang(_name: str, args: tuple[int], **_: Any) -> None:
        sent.append(args[0])
        let_go.wait()

    monkeypatch.setattr(current_app, "send_task", hang)
    sender.trigger({first})
    wait_for(lambda: first in sent)
    for partition in others:
        sender.trigger({partition})  # must return at once, although nothing can be sent
    assert not {*others} & {*sent}
    let_go.set()
    wait_for(lambda: {*others} <= {*sent})


def test_an_unreachable_cache_stops_neither_voter_nor_worker(
    sender: triggers.TriggerSender, broker: Broker, one: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        tried = 0

        def add(self, flag: str, *_: Any) -> None:
            self.tried += flag == triggers._pending_key(one)
            raise ConnectionError("no cache")

        delete = add

    away = Away()
    with monkeypatch.context() as patch:
        patch.setattr(triggers, "cache", away)
        sender.trigger({one})
        wait_for(lambda: away.tried == 1)
        triggers.clear_pending(one)
    assert away.tried == 2
    sender.trigger({one})
    wait_for(lambda: one in broker.sent)


@pytest.mark.usefixtures("each_log", "broker")
class TestTasks:
    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_ballots_appended_while_the_flag_is_cleared_are_counted(
        self, moment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While the flag is set, appended ballots send no trigger."""
        poll = open_poll()
        fill(poll, range(20), 1)
        clear_pending, late = triggers.clear_pending, iter([range(20, 40)])

        def meanwhile(partition: int) -> None:
            if moment == "after":
                clear_pending(partition)
            for voters in late:
                fill(poll, voters, 1)
            if moment == "before":
                clear_pending(partition)

        monkeypatch.setattr(triggers, "clear_pending", meanwhile)
        for partition in range(get_log().partitions):
            tasks.count(partition)
        assert checkpoints.backlog() == 0
        assert check_books(poll)[1, "ballots"] == 40

    def test_a_partition_that_another_worker_counts_is_left_to_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other worker also counts the ballots that are appended until it unlocks the partition."""
        monkeypatch.setattr(tasks, "_COUNTING_SECONDS", 3600)
        poll = open_poll()
        fill(poll, range(20), 1)
        unlock, late = cache_locks.unlock, iter([range(20, 40), range(40, 60)])

        def meanwhile(lock: str) -> None:
            for voters in late:
                fill(poll, voters, 1)
                break
            before = checkpoints.backlog()
            tasks.count(int(lock.removeprefix("counting:")))  # another worker, which finds the lock
            assert checkpoints.backlog() == before
            unlock(lock)

        monkeypatch.setattr(cache_locks, "unlock", meanwhile)
        for partition in range(get_log().partitions):
            tasks.count(partition)
        monkeypatch.undo()
        assert checkpoints.backlog() == 0
        assert check_books(poll)[1, "ballots"] == 60

    def test_a_lock_left_by_a_crash_expires(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "_COUNTING_SECONDS", 3600)
        poll = open_poll()
        fill(poll, range(20), 1)
        locks = [f"counting:{partition}" for partition in range(get_log().partitions)]
        for partition, lock in enumerate(locks):
            assert cache_locks.try_lock(lock, 3600)  # never unlocked, as after a crash
            tasks.count(partition)
        assert checkpoints.backlog() == 20
        for lock in locks:
            cache_locks.extend(lock, 1)

        def sweep_again() -> bool:
            tasks.sweep()
            return checkpoints.backlog() == 0

        wait_for(sweep_again)
        assert check_books(poll)[1, "ballots"] == 20

    def test_the_worker_pauses_unless_a_full_batch_is_waiting(self, settings: Any) -> None:
        poll, late, pauses = open_poll(), iter([range(100, 140), range(200, 240)]), []

        def gather(seconds: float) -> None:
            assert 0 < seconds <= batches.MAX_PAUSE_SECONDS
            pauses.append(checkpoints.backlog())

        def more(poll_ids: set[int], **_: Any) -> None:
            for voters in late:
                fill(poll, voters, 1)
                break

        tally_changed.connect(more)
        try:
            fill(poll, range(20), 1)
            for partition in range(get_log().partitions):
                batches.count_partition(partition, gather)
            assert sum(pauses) > 0
            pauses.clear()
            settings.COUNT_BATCH = 10
            for start in range(1000, 1100, 5):
                fill(poll, range(start, start + 5), 2)
            for partition in range(get_log().partitions):
                batches.count_partition(partition, gather)
            assert len(pauses) <= get_log().partitions
        finally:
            tally_changed.disconnect(more)
        assert checkpoints.backlog() == 0

    def test_the_sweep_counts_ballots_without_a_trigger(self) -> None:
        poll = open_poll()
        fill(poll, range(20), 1)
        lifecycle.close_poll(poll.pk)
        tasks.sweep()
        assert check_books(poll)[1, "ballots"] == 20
        assert Poll.objects.get().state == State.CLOSED
        assert Pulse.objects.filter(name="sweep").exists()

    def test_sweep_and_tick_without_work_do_nothing(self) -> None:
        make_poll()
        tasks.sweep()
        tasks.sweep()
        tasks.tick()
        assert checkpoints.backlog() == 0
