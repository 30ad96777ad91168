"""Many viewers connect at once, as after a restart. The tests count queries, not seconds."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from realtime import hub as hub_module
from tests.realtime.viewers import db, make_poll

pytestmark = [pytest.mark.django_db(transaction=True)]
VIEWERS = 200


@contextmanager
def counted_queries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record the statements of all threads, since viewers are served in other threads than the test's."""
    statements: list[str] = []
    lock = threading.Lock()

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: Any, sql: Any, *args: Any) -> Any:
            with lock:
                statements.append(str(sql))
            return method(self, sql, *args)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", counting(CursorWrapper.execute))
        yield statements


async def watch_all(watch: Any, codes: list[str]) -> None:
    sockets = await asyncio.gather(*(watch(codes[n % len(codes)]) for n in range(VIEWERS)))
    tallies = await asyncio.gather(*(socket.tally(patience=60) for socket in sockets))
    assert [tally["poll"] for tally in tallies] == [codes[n % len(codes)] for n in range(VIEWERS)]


async def test_many_viewers_at_once_cost_as_many_queries_as_one(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hub's regular check takes one statement for any number of viewers. Here it would change the count.
    monkeypatch.setattr(hub_module, "CHECK_SECONDS", 3600)
    polls = [await db(make_poll)() for _ in range(3)]
    with counted_queries(monkeypatch) as first:
        await (await watch(polls[0].code)).tally()
    with counted_queries(monkeypatch) as storm:
        await watch_all(watch, [poll.code for poll in polls])
    assert 0 < len(storm) <= 2 * len(first), storm
    with counted_queries(monkeypatch) as again:
        await watch_all(watch, [poll.code for poll in polls])
    assert again == []
