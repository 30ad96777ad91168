"""The heads of the partitions in Redis, and whether they belong to the log that this process knows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import redis
from django.db import DatabaseError, InterfaceError

from polls.errors import LogInconsistent, Unavailable
from polls.votelog.entries import Head
from polls.votelog.redis.functions import Call, Functions
from polls.votelog.redis.keys import Keys

logger = logging.getLogger(__name__)

FORMAT = "2"  # the version of the keys' format; the same in landslide.lua
_HEAD = ("generation", "position", "trimmed", "format", "at")
#: If the store's clock went back by more than this, the log is refused. landslide.lua has the same limit.
CLOCK_TOLERANCE_MS = 5000
_BEHIND = "behind what it has acknowledged"  # in place of the generation, so that no caller accepts the head


class Heads:
    def __init__(
        self,
        client: redis.Redis,
        functions: Functions,
        keys: Keys,
        counted: Callable[[], Mapping[int, Head]],
    ) -> None:
        """counted: reads from the database how far each partition is counted."""
        self._redis = client
        self._functions = functions
        self._keys = keys
        self._counted = counted
        self.written: dict[int, Head] = {}  # how far this process has written each partition

    def existing(self, partitions: Sequence[int]) -> dict[int, Head]:
        """Return the heads of those partitions that have one."""
        found = zip(partitions, self.read(partitions), strict=True)
        return {partition: head for partition, head in found if head}

    def read(self, partitions: Sequence[int]) -> list[Head | None]:
        """Read heads. If a head can't belong to our log, its generation is replaced by the reason."""
        # Copied before reading, because the answer may lack entries that another thread appends meanwhile.
        written = dict(self.written)
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        for partition in partitions:
            pipe.hmget(self._keys.partition(partition)[1], _HEAD)
        (seconds, micros), *rows = pipe.execute()
        heads = [_head(seconds * 1000 + micros // 1000, *fields) for fields in rows]
        return [_mark_if_behind(head, written.get(p)) for p, head in zip(partitions, heads, strict=True)]

    def written_position(self, partition: int, generation: str) -> int:
        """Return the position up to which this process itself has written this log."""
        written = self.written.get(partition)
        return written.position if written and written.generation == generation else 0

    def compare(self, partitions: Sequence[int]) -> dict[str, Exception]:
        """Check that Redis still has our log and not an older copy, after it has restarted or failed over.

        The log must contain all entries that the database has counted or this process has written. While the
        database is down this can't be checked, since other processes may have written more: raises
        Unavailable.
        Returns errors by stream, for partitions that failed.
        """
        heads = self.existing(partitions)
        if any(head.generation == _BEHIND for head in heads.values()):
            raise LogInconsistent()
        try:
            counted = self._counted()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("log_not_compared", extra={"error": str(error)})
            raise Unavailable() from None
        calls: list[Call] = []
        for partition, head in (counted or heads).items():
            args = [head.generation, head.position, self.written_position(partition, head.generation)]
            calls.append(("landslide_compare", self._keys.partition(partition), args))
        answers, _lost = self._functions.send(calls)
        return {
            call[1][0]: answer
            for call, answer in zip(calls, answers, strict=True)
            if isinstance(answer, Exception)
        }


def _head(
    now: int,
    generation: bytes | None,
    position: bytes | None,
    trimmed: bytes | None,
    written_as: bytes | None,
    at: bytes | None,
) -> Head | None:
    if generation is None or position is None:
        return None
    known = generation.decode()
    if written_as != FORMAT.encode():
        # A release with a different format of keys has written this head.
        known = f"format {(written_as or b'1').decode()}"
    elif at is not None and now < int(at) - CLOCK_TOLERANCE_MS:
        known = "from the future"
    return Head(known, int(position), int(trimmed or 0))


def _mark_if_behind(head: Head | None, written: Head | None) -> Head | None:
    """Replace the generation if entries of this process are missing: then the log is an older copy."""
    if head and written and head.generation == written.generation and head.position < written.position:
        return replace(head, generation=_BEHIND)
    return head
