"""Reads tallies for the hub, in a thread that keeps its database connection between reads.

Taking a connection from the pool and checking it costs as much as reading a tally. The thread gives the
connection back once a second, so an idle hub holds no connection, and a dead connection is noticed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from django.db import close_old_connections, connections

from analytics.results import tallies
from analytics.results.tallies import Snapshot
from polls.db_connections import closing_connections
from realtime.protocol import Frames, build_frames

T = TypeVar("T")


class Reading(NamedTuple):
    """A poll's snapshot, and the frames made from it."""

    snap: Snapshot
    frames: Frames


def read_poll(poll_id: int, last: Reading | None) -> Reading:
    """Read a poll. Return `last`, the previous reading, if the poll hasn't changed."""
    snap = tallies.newest(poll_id, last.snap if last else None)
    if last is None or snap.poll is not last.snap.poll:
        return Reading(snap, build_frames(snap))
    return last if snap is last.snap else Reading(snap, build_frames(snap, last.frames))


class TallyReader:
    """A thread that reads tallies for the hub."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "hub-reader")

    async def read(self, poll_id: int, last: Reading | None) -> Reading:
        return await self._run(_keeping_connection, read_poll, poll_id, last)

    async def stamps(self, poll_ids: list[int]) -> dict[int, tuple[int, int, int]]:
        """Read the stamps of these polls, and give the connection back. The hub calls this once a second."""
        return await self._run(closing_connections, tallies.stamps, poll_ids)

    def stop(self) -> None:
        # Give the connection back to the pool before its thread ends.
        self._thread.submit(connections.close_all)
        self._thread.shutdown(wait=True)

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _keeping_connection(function: Callable[..., T], *args: Any) -> T:
    try:
        return function(*args)
    except BaseException:
        close_old_connections()
        raise
