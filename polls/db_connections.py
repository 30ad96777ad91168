"""Database connections in long-lived threads, and a fair write lock for SQLite."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection

P = ParamSpec("P")
T = TypeVar("T")


def closing_connections(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call `function`, then close this thread's database connections, as Django does after a request."""
    try:
        return function(*args, **options)
    finally:
        close_old_connections()


class FairLock:
    """A first-come, first-served lock. After `timeout` seconds, a thread continues without the lock."""

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
    """Wait for a turn to write to SQLite. Used around the transactions that append ballots and count them.

    SQLite allows one writer. Other writers poll at growing intervals. On a slow disk, they would never find
    the gap between two appends. PostgreSQL queues writers by itself. Inside a transaction this doesn't wait,
    because the transaction may hold a lock for which the other writer waits.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with _sqlite_lock.hold():
        yield
