"""Casts of one event loop on their way to the coalescer, without a thread that waits for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from django.conf import settings

from .coalescer import APPEND_AT_MOST
from .errors import LandslideError, OutcomeUnknown, Overloaded
from .votelog.base import NewBallot, Outcome


class Gatherer:
    """The casts of one event loop: what comes while a group is being appended goes together as the next.

    One future and one call between threads serve a whole group, where a thread that waits
    for each ballot would cost more than the ballot.
    """

    def __init__(self, submit: Callable[[Sequence[NewBallot]], Future[list[Outcome]]]) -> None:
        self._submit = submit
        self.loop = asyncio.get_running_loop()
        self._limit = settings.CAST_QUEUE_LIMIT
        self._waiting: list[tuple[NewBallot, asyncio.Future[Outcome]]] = []
        self._under_way: list[asyncio.Future[Outcome]] = []
        self._busy = False

    @property
    def full(self) -> bool:
        return len(self._waiting) + len(self._under_way) >= self._limit

    def cast(self, ballot: NewBallot) -> asyncio.Future[Outcome]:
        """The future outcome of this ballot; it raises what Coalescer's does."""
        outcome = self.loop.create_future()
        self._waiting.append((ballot, outcome))
        if not self._busy:
            # Not at once: the requests that came with this one are handled in the same turn of the loop.
            self._busy = True
            self.loop.call_soon(self._send)
        return outcome

    def _send(self) -> None:
        group, self._waiting = self._waiting[:APPEND_AT_MOST], self._waiting[APPEND_AT_MOST:]
        self._under_way = [outcome for _, outcome in group]
        try:
            appended = self._submit([ballot for ballot, _ in group])
        except LandslideError as error:
            self._settle(error)
            return
        late = self.loop.call_later(settings.CAST_DEADLINE_SECONDS, self._too_late, appended)

        def settle() -> None:
            if not late.cancelled():
                late.cancel()
                self._settle(appended.exception() or appended.result())

        appended.add_done_callback(
            lambda _: None if self.loop.is_closed() else self.loop.call_soon_threadsafe(settle)
        )

    def _settle(self, result: BaseException | list[Outcome]) -> None:
        settled, self._under_way = self._under_way, []
        if self._waiting:
            self.loop.call_soon(self._send)
        else:
            self._busy = False
        if isinstance(result, BaseException):
            for outcome in settled:
                if not outcome.done():
                    outcome.set_exception(result)
            return
        for outcome, verdict in zip(settled, result, strict=True):
            if not outcome.done():  # else: who asked has hung up
                outcome.set_result(verdict)

    def _too_late(self, appended: Future[list[Outcome]]) -> None:
        """Nobody waits longer than that. What is still in the queue leaves it, and was not written."""
        refused, self._waiting = self._waiting, []
        for _, outcome in refused:
            if not outcome.done():
                outcome.set_exception(Overloaded())
        self._settle(Overloaded() if appended.cancel() else OutcomeUnknown())
