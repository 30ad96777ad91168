"""Run functions in parallel threads, which close their database connections."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(work: Callable[[Item], Result], items: Iterable[Item], threads: int = 8) -> list[Result]:
    """Call `work` for each item in up to `threads` threads that start together. Return the results."""
    todo = list(items)
    threads = min(threads, len(todo))
    # The pool starts a thread for each of the first items: while they wait at the barrier, none is idle.
    start = threading.Barrier(threads)

    def one(item: Item) -> Result:
        try:
            return work(item)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads, initializer=start.wait) as pool:
        return list(pool.map(one, todo))


class Background:
    """`with Background(work):` calls `work` in a loop in another thread.

    The end of the block raises an error that `work` raised.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._work()
        except BaseException as failure:
            self._failure = failure
        finally:
            connections.close_all()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure
