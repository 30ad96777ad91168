"""Calls of the vote log's Redis Functions: sent together, repeated where a reply was lost, and their errors.

Each call speaks for itself: another one's error says nothing of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.retry import Retry

from polls.errors import LandslideError, LogInconsistent, Unavailable

_LIBRARY = Path(__file__).with_name("landslide.lua")
_MAX_REPAIRS = 4  # times a call: processes of two releases would load their Functions in turns
_RETRY_PAUSES = (0.04, 0.08)  # seconds before calls whose replies were lost are sent again, each time

Call = tuple[str, list[str], list[Any]]  # Function, keys, arguments
#: Looks whether the log is the one that we know; the errors of partitions that aren't, by stream.
Compare = Callable[[], Mapping[str, Exception]]


class Functions:
    """The library of Functions in one Redis."""

    def __init__(self, connect: Callable[..., redis.Redis]) -> None:
        # Without redis-py's retries: `send` repeats calls, and knows that it did.
        self._redis = connect(retry=Retry(NoBackoff(), 0))
        self._loaded = False

    def call(self, calls: Sequence[Call], compare: Compare) -> list[Any]:
        """The answers of calls that are sent in one round trip; the first error is raised."""
        answers, _lost = self.call_each(calls, compare)
        for answer in answers:
            if isinstance(answer, Exception):
                raise definite_refusal(answer) or answer
        return answers

    def call_each(self, calls: Sequence[Call], compare: Compare) -> tuple[list[Any], bool]:
        """The answer or error of each call, and whether they may have run before, unheard.

        Raises what kept all of them from being sent, or from being heard. A call that was refused for the
        want of something is sent again, and none of the others is: their answers stand.
        """
        if not self._loaded:
            # Once a process: the Redis may be new, or hold the library of an earlier release.
            self._load()
        answers, lost = self.send(calls)
        for _attempt in range(_MAX_REPAIRS):
            again = [index for index, answer in enumerate(answers) if _failed_with(answer, *_REPAIRABLE)]
            if not again:
                break
            try:
                errors = self._repair(answers, compare)
                found, lost_again = self.send([calls[index] for index in again])
            except (LandslideError, RedisError) as error:
                for index in again:
                    answers[index] = error
                break
            lost |= lost_again
            for index, answer in zip(again, found, strict=True):
                stream = calls[index][1][0]
                answers[index] = errors.get(stream, answer) if isinstance(answer, Exception) else answer
        return answers, lost

    def send(self, calls: Sequence[Call]) -> tuple[list[Any], bool]:
        """The same, and nothing is done about what a call lacks."""
        lost = False
        for pause in _RETRY_PAUSES:
            try:
                return self._pipeline(calls).execute(raise_on_error=False), lost
            except (redis.ConnectionError, redis.TimeoutError):
                lost = True
                time.sleep(pause)
        return self._pipeline(calls).execute(raise_on_error=False), lost

    def _pipeline(self, calls: Sequence[Call]) -> Any:
        pipe = self._redis.pipeline(transaction=False)
        for function, keys, args in calls:
            pipe.fcall(function, len(keys), *keys, *args)
        return pipe

    def _repair(self, answers: Sequence[Any], compare: Compare) -> Mapping[str, Exception]:
        """Do what calls lack; the errors of the partitions where that failed, by stream."""
        if any(_failed_with(answer, "Function not found") for answer in answers):
            self._load()  # an emptied Redis, or another
            return {}
        return compare()

    def _load(self) -> None:
        """Unless it is there: whoever loads it anew makes all partitions be compared once more."""
        code = _LIBRARY.read_text()
        known: Any = self._redis.function_list(library="landslide", withcode=True)
        if not any(code.encode() in library.values() for library in known):
            self._redis.function_load(code, replace=True)
        self._loaded = True


#: What a call lacks that is refused with one of these; it has written nothing.
_REPAIRABLE = ("Function not found", "UNCOMPARED")


def _failed_with(answer: Any, *texts: str) -> bool:
    return isinstance(answer, Exception) and any(text in str(answer) for text in texts)


def definite_refusal(error: Exception) -> LandslideError | None:
    """What a call's error means, where it says surely that this call has written nothing."""
    if isinstance(error, LandslideError):
        return error
    if isinstance(error, OutOfMemoryError | ReadOnlyError):
        return Unavailable()  # the client has made a class of the error's first word, and left it out
    found = _REFUSALS.search(str(error))
    return _MEANING[found[0]]() if found else None


_MEANING: dict[str, type[LandslideError]] = {
    "INCONSISTENT": LogInconsistent,
    "UNCOMPARED": Unavailable,
    "Function not found": Unavailable,
    "OOM": Unavailable,  # over maxmemory
    "MISCONF": Unavailable,  # its disk takes no more
    "READONLY": Unavailable,  # it is a replica, after a failover
}
_REFUSALS = re.compile(rf"\b({'|'.join(_MEANING)})\b")
