"""Embedded mode's Celery worker and beat: threads of the server process, with the in-memory broker.

The serving command starts and stops them, because Daphne has no lifespan events. asgi.py doesn't start them,
because a process that only imports the application must not count ballots.
"""

from socket import gethostname
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import structlog
from celery import signals
from celery.beat import EmbeddedService
from celery.worker import WorkController
from celery.worker import state as worker_state

from config.celery import app
from config.serving import memory_transport

log = structlog.get_logger(__name__)
HOSTNAME = f"embedded@{gethostname()}"
RESTART_SECONDS = 1.0


class EmbeddedWorker:
    """`with EmbeddedWorker(): serve()`. Only one worker may run, since Celery's stop flag is global."""

    def __init__(self) -> None:
        self._ready = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="celery-worker", daemon=True)
        self._beat = EmbeddedService(app, thread=True, scheduler_cls="celery.beat:Scheduler")

    def start(self, timeout: float = 15.0) -> None:
        self._thread.start()
        if not self._ready.wait(timeout):
            log.warning("The embedded worker hasn't started yet; the server starts anyway")
        self._beat.start()

    def stop(self) -> None:
        """Finish running tasks and drop the others. The sweep after the next start counts their ballots."""
        self._stopping.set()
        # Celery itself sends this signal only from its command line.
        signals.worker_shutting_down.send(sender=HOSTNAME, sig="SIGTERM", how="Warm", exitcode=0)
        self._beat.service.stop()
        worker_state.should_stop = 0
        while self._thread.is_alive():
            # Wake the worker repeatedly: it may have read the flag already, but not be waiting yet.
            memory_transport.wake_consumers()
            self._thread.join(0.02)
        worker_state.should_stop = None
        self._beat.join(2)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._run_worker()
            except Exception:
                log.exception("The embedded worker failed")
            if not self._stopping.wait(RESTART_SECONDS):
                log.error("The embedded worker stopped unexpectedly and is restarted")

    def _run_worker(self) -> None:
        # Create the worker in this thread: creating it closes the database connection of the thread that does
        # it.
        WorkController(
            app=app,
            hostname=HOSTNAME,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            ready_callback=self._on_ready,
        ).start()

    def _on_ready(self, consumer: Any) -> None:
        signals.worker_ready.send(sender=consumer)  # as in stop(): Celery sends it only from its command line
        self._ready.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
