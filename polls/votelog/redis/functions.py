"""Calling the vote log's Redis Functions: pipelines, loading the library, retries, and what errors mean."""

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
_MAX_REPAIRS = 4  # per call: processes of two releases would otherwise replace each other's library for ever
_RETRY_PAUSES = (0.04, 0.08)  # seconds before each retry of calls whose replies were lost

Call = tuple[str, list[str], list[Any]]  # Function, keys, arguments
#: A function that checks that Redis has the log that we know, and returns errors by stream, for partitions
#: that failed.
Compare = Callable[[], Mapping[str, Exception]]


class Functions:
    """The library of Functions in a Redis server."""

    def __init__(self, connect: Callable[..., redis.Redis]) -> None:
        # redis-py doesn't retry here. `send` does, and reports it.
        self._redis = connect(retry=Retry(NoBackoff(), 0))
        self._loaded = False

    def call(self, calls: Sequence[Call], compare: Compare) -> list[Any]:
        """Send calls in one round trip and return their answers; raise the first error."""
        answers, _lost = self.call_each(calls, compare)
        for answer in answers:
            if isinstance(answer, Exception):
                raise definite_refusal(answer) or answer
        return answers

    def call_each(self, calls: Sequence[Call], compare: Compare) -> tuple[list[Any], bool]:
        """Return the answer or error of each call, and whether a reply was lost (calls may have run twice).

        Raises if Redis can't be reached at all. Calls that are refused because the library is missing, or
        because the log hasn't been compared yet, are sent again after a repair.
        """
        if not self._loaded:
            # Redis may be empty, or have a different release's library.
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
        """Like `call_each`, but without repairs."""
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
        """Load the library or compare the log; return the errors of partitions that failed, by stream."""
        if any(_failed_with(answer, "Function not found") for answer in answers):
            self._load()  # Redis was emptied or replaced
            return {}
        return compare()

    def _load(self) -> None:
        """Load the library if it is missing. Loading clears the library's list of compared partitions."""
        code = _LIBRARY.read_text()
        known: Any = self._redis.function_list(library="landslide", withcode=True)
        if not any(code.encode() in library.values() for library in known):
            self._redis.function_load(code, replace=True)
        self._loaded = True


#: After one of these errors, the call has written nothing, and a repair may help.
_REPAIRABLE = ("Function not found", "UNCOMPARED")


def _failed_with(answer: Any, *texts: str) -> bool:
    return isinstance(answer, Exception) and any(text in str(answer) for text in texts)


def definite_refusal(error: Exception) -> LandslideError | None:
    """Translate an error that proves that a call has written nothing. Return None for other errors."""
    if isinstance(error, LandslideError):
        return error
    if isinstance(error, OutOfMemoryError | ReadOnlyError):
        return Unavailable()  # redis-py has classes for these, whose text lacks the error code
    found = _REFUSALS.search(str(error))
    return _MEANING[found[0]]() if found else None


_MEANING: dict[str, type[LandslideError]] = {
    "INCONSISTENT": LogInconsistent,
    "UNCOMPARED": Unavailable,
    "Function not found": Unavailable,
    "OOM": Unavailable,  # the memory limit (maxmemory) is reached
    "MISCONF": Unavailable,  # the server's disk is full or fails
    "READONLY": Unavailable,  # the server became a replica in a failover
}
_REFUSALS = re.compile(rf"\b({'|'.join(_MEANING)})\b")
