"""Questions to stores that may hang, asked side by side, with one bound on the wait for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any

from polls.db_connections import in_thread

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0


class Asker:
    """A question that is still open isn't asked again: what hangs holds one thread, not one a request."""

    def __init__(self, questions: Mapping[str, Callable[[], Any]]) -> None:
        self._questions = questions
        self._threads = ThreadPoolExecutor(len(questions), "asking")
        self._asked: dict[str, Future[Any]] = {}
        self._lock = Lock()

    def answers(self) -> dict[str, Any]:
        """By question what it returned or raised; a TimeoutError where nothing came in time."""
        with self._lock:
            asked = {name: self._ask(name) for name in self._questions}
        wait(asked.values(), PATIENCE_SECONDS)
        return {name: _answer(future) for name, future in asked.items()}

    def _ask(self, name: str) -> Future[Any]:
        future = self._asked.get(name)
        if future is None or future.done():
            future = self._asked[name] = self._threads.submit(in_thread, self._questions[name])
        return future


def _answer(future: Future[Any]) -> Any:
    return (future.exception() or future.result()) if future.done() else TimeoutError()
