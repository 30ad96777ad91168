"""A Celery worker and beat in threads of the server process, over the in-memory broker.

The command that serves starts and stops them, never the import of asgi.py: Daphne has no
lifespan, and a process that only imports the application must not begin to count.
"""

from __future__ import annotations

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
    """`with EmbeddedWorker(): serve()`. Celery keeps its stop flag globally, so one at a time."""

    def __init__(self) -> None:
        self._ready = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="celery-worker", daemon=True)
        self._beat = EmbeddedService(app, thread=True, scheduler_cls="celery.beat:Scheduler")

    def start(self, timeout: float = 15.0) -> None:
        self._thread.start()
        if not self._ready.wait(timeout):
            log.warning("The embedded worker is slow to start; the server starts without waiting for it")
        self._beat.start()

    def stop(self) -> None:
        """Let running tasks finish; what was not begun is found again by the sweep after the next start."""
        self._stopping.set()
        # Only Celery's command line tells; whoever does things while a worker lives needs to know here too.
        signals.worker_shutting_down.send(sender=HOSTNAME, sig="SIGTERM", how="Warm", exitcode=0)
        self._beat.service.stop()
        worker_state.should_stop = 0
        while self._thread.is_alive():
            # Again and again: the worker may be between looking at the flag and falling asleep.
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
                log.error("The embedded worker ended by itself and is started again")

    def _run_worker(self) -> None:
        # Built in its own thread, for building it closes the thread's database connection.
        WorkController(
            app=app,
            hostname=HOSTNAME,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            ready_callback=self._on_ready,
        ).start()

    def _on_ready(self, consumer: Any) -> None:
        signals.worker_ready.send(sender=consumer)  # as above: only Celery's command line does
        self._ready.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
