"""The heads of the partitions in Redis, and whether they are of the log that this process knows."""

from __future__ import annotations

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

FORMAT = "2"  # of the keys, as in the Function
_HEAD = ("generation", "position", "trimmed", "format", "at")
#: As in the Function: a store's clock that went back by more than this can't be gone by.
CLOCK_TOLERANCE_MS = 5000
_BEHIND = "behind what it has acknowledged"  # instead of a generation


class Heads:
    def __init__(
        self,
        client: redis.Redis,
        functions: Functions,
        keys: Keys,
        counted: Callable[[], Mapping[int, Head]],
    ) -> None:
        """`counted`: what the database has counted, to compare a server with that has started anew."""
        self._redis = client
        self._functions = functions
        self._keys = keys
        self._counted = counted
        self.written: dict[int, Head] = {}

    def existing(self, partitions: Sequence[int]) -> dict[int, Head]:
        found = zip(partitions, self.read(partitions), strict=True)
        return {partition: head for partition, head in found if head}

    def read(self, partitions: Sequence[int]) -> list[Head | None]:
        # From before the look: what is written meanwhile, by another thread, it needn't show.
        written = dict(self.written)
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        for partition in partitions:
            pipe.hmget(self._keys.partition(partition)[1], _HEAD)
        (seconds, micros), *rows = pipe.execute()
        heads = [_head(seconds * 1000 + micros // 1000, *fields) for fields in rows]
        return [_mark_if_behind(head, written.get(p)) for p, head in zip(partitions, heads, strict=True)]

    def written_position(self, partition: int, generation: str) -> int:
        """The position up to which we know this log to have been written, for we did so."""
        written = self.written.get(partition)
        return written.position if written and written.generation == generation else 0

    def compare(self, partitions: Sequence[int]) -> dict[str, Exception]:
        """Redis has started anew, or another has taken over: is this the log that we know?

        The database says how far it was counted, and this process how far it has written. While the database
        is away nobody here can tell: others may have written what an older copy lacks. Returns the errors by
        the stream of the partition that isn't the one we know.
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
        # Of a release that kept its keys in another way: the same log to nobody.
        known = f"format {(written_as or b'1').decode()}"
    elif at is not None and now < int(at) - CLOCK_TOLERANCE_MS:
        known = "from a time that is to come"
    return Head(known, int(position), int(trimmed or 0))


def _mark_if_behind(head: Head | None, written: Head | None) -> Head | None:
    """Of a log that ends before what this process has written, an older copy: the same log to nobody."""
    if head and written and head.generation == written.generation and head.position < written.position:
        return replace(head, generation=_BEHIND)
    return head
