"""Runs probes of stores in parallel. One timeout limits all probes, since a store may hang."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any

from polls.db_connections import closing_connections

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0


class ProbeRunner:
    """Runs a fixed set of probes. A hanging probe isn't started again, so it holds only one thread."""

    def __init__(self, probes: Mapping[str, Callable[[], Any]]) -> None:
        self._probes = probes
        self._threads = ThreadPoolExecutor(len(probes), "probes")
        self._running: dict[str, Future[Any]] = {}
        self._lock = Lock()

    def run(self) -> dict[str, Any]:
        """Return each probe's result or exception by name. A probe that hangs gets a TimeoutError."""
        with self._lock:
            running = {name: self._start(name) for name in self._probes}
        wait(running.values(), TIMEOUT_SECONDS)
        return {name: _outcome(future) for name, future in running.items()}

    def _start(self, name: str) -> Future[Any]:
        future = self._running.get(name)
        if future is None or future.done():
            future = self._running[name] = self._threads.submit(closing_connections, self._probes[name])
        return future


def _outcome(future: Future[Any]) -> Any:
    return (future.exception() or future.result()) if future.done() else TimeoutError()
