"""The embedded worker runs tasks, wakes at once, stops and restarts."""

import threading
import time

import pytest
from celery import Celery

from config.celery import app
from config.serving import embedded, memory_transport
from tests.servers import PATIENCE

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def quiet(monkeypatch):
    """Remove the schedule, whose tasks need a database."""
    monkeypatch.setitem(app.conf, "beat_schedule", {})


@app.task
def ring(bell: str) -> None:
    BELLS[bell].set()


BELLS = {name: threading.Event() for name in ("first", "second", "third", "never")}


@pytest.mark.django_db(transaction=True)
def test_tasks_run_and_the_worker_restarts_after_a_stop(quiet):
    for bell in ("first", "second"):
        with embedded.EmbeddedWorker():
            ring.delay(bell)
            assert BELLS[bell].wait(PATIENCE)
        assert not any(thread.name == "celery-worker" for thread in threading.enumerate())


@pytest.mark.django_db(transaction=True)
def test_failed_worker_is_restarted(quiet, monkeypatch):
    monkeypatch.setattr(embedded, "RESTART_SECONDS", 0.01)
    controller, failures = embedded.WorkController, iter([RuntimeError("once")])

    def fragile(**options):
        for failure in failures:
            raise failure
        return controller(**options)

    monkeypatch.setattr(embedded, "WorkController", fragile)
    with embedded.EmbeddedWorker():
        ring.delay("third")
        assert BELLS["third"].wait(PATIENCE)


def test_waiting_worker_wakes_only_on_a_message():
    broker = Celery(broker="landslide-memory://localhost")
    with broker.connection() as connection, connection.SimpleQueue("wake-test") as queue:
        before = time.monotonic()
        with pytest.raises(queue.Empty):
            queue.get(timeout=0.2)
        assert time.monotonic() - before >= 0.2
        threading.Timer(0.1, lambda: send(broker)).start()
        message = queue.get(timeout=PATIENCE)
        assert message.payload == "hello"
        message.ack()


def send(broker: Celery) -> None:
    with broker.connection() as connection, connection.SimpleQueue("wake-test") as queue:
        queue.put("hello")


def test_wake_consumers_ends_a_wait():
    broker = Celery(broker="landslide-memory://localhost")
    with broker.connection() as connection:
        connection.channel()
        over = threading.Event()

        def wake_again_and_again() -> None:
            while not over.wait(0.05):  # repeated, since the first wake-up may come before the wait
                memory_transport.wake_consumers()

        waking = threading.Thread(target=wake_again_and_again)
        waking.start()
        try:
            connection.drain_events(timeout=PATIENCE)
        finally:
            over.set()
            waking.join()
