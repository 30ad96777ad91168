"""Database connections in threads that outlive a request, and who writes next where only one can."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection

P = ParamSpec("P")
T = TypeVar("T")


def closing_connections(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call `function`, which may use the database, and leave no connection behind in this thread."""
    try:
        return function(*args, **options)
    finally:
        close_old_connections()


class FairLock:
    """A lock that goes to whoever has waited longest. After `timeout` seconds nobody waits for it."""

    def __init__(self, timeout: float = 20.0) -> None:
        self._timeout = timeout
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def hold(self) -> Iterator[None]:
        taken = self._take()
        try:
            yield
        finally:
            if taken:
                self._hand_over()

    def _take(self) -> bool:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(self._timeout):
            return True
        with self._mutex:
            if turn.is_set():
                return True
            self._waiting.remove(turn)
            return False

    def _hand_over(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False


_sqlite_lock = FairLock()


@contextmanager
def sqlite_write_turn() -> Iterator[None]:
    """Round a transaction of the two that write all the time: who appends ballots and who counts them.

    SQLite lets one write and has the others try again and again, at ever longer intervals: on a slow disk
    the one that appends, transaction after transaction, is never caught between two of them. PostgreSQL
    queues by itself. Who is in a transaction already doesn't wait: it may hold what the other waits for.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with _sqlite_lock.hold():
        yield
