"""Casts of one event loop on their way to the coalescer, without a thread that waits for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from django.conf import settings

from polls.casting import backpressure
from polls.casting.append_queue import APPEND_AT_MOST
from polls.errors import LandslideError, OutcomeUnknown, Overloaded
from polls.votelog.admission import NewBallot, Outcome

#: A queue that has stood for so long (seconds) is no burst any more but an overload: from then on only so
#: many are let in, so that those who are accepted needn't wait, and the others hear at once that they should.
STANDING_SECONDS, STANDING_AT_MOST = 0.1, 256
#: It ends as one this long after the last who was turned away.
RELIEF_SECONDS = 1.0
#: Turning people away takes time too. When the event loop falls behind with that (is so late with a timer),
#: fewer are let in, down to so many; when it has caught up, more again.
LOOK_SECONDS, LATE_SECONDS, LEAST_AT_MOST = 0.05, 0.02, 64


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
        self._busy_since = 0.0  # by the loop's clock; 0: idle
        self._oldest = 0.0  # when the first of those that wait came
        self._at_most = STANDING_AT_MOST
        self._crowded_until = 0.0

    @property
    def full(self) -> bool:
        """Whether the next cast is one too many: a burst may fill the queue, a standing one is kept short."""
        size = len(self._waiting) + len(self._under_way)
        if size < self._at_most:
            return False
        now = self.loop.time()
        if size >= self._limit:
            backpressure.turned_away(RELIEF_SECONDS)
            return True
        if now >= self._crowded_until:
            if now - self._busy_since <= STANDING_SECONDS:
                return False
            self.loop.call_later(LOOK_SECONDS, self._look, now + LOOK_SECONDS)
        self._crowded_until = now + RELIEF_SECONDS
        backpressure.turned_away(RELIEF_SECONDS)
        return True

    def _look(self, due: float) -> None:
        """While people are turned away: whether we keep up with that."""
        now = self.loop.time()
        if now - due > LATE_SECONDS:
            self._at_most = max(LEAST_AT_MOST, self._at_most * 3 // 4)
        else:
            self._at_most = min(STANDING_AT_MOST, self._at_most + LEAST_AT_MOST)
        if now < self._crowded_until:
            self.loop.call_later(LOOK_SECONDS, self._look, now + LOOK_SECONDS)
        else:
            self._at_most = STANDING_AT_MOST

    def cast(self, ballot: NewBallot) -> asyncio.Future[Outcome]:
        """The future outcome of this ballot; Overloaded at once where there is no place for it."""
        if len(self._waiting) >= self._limit:
            raise Overloaded()  # let in while there was room, and held up on its way here
        outcome = self.loop.create_future()
        if not self._waiting:
            self._oldest = self.loop.time()
        self._waiting.append((ballot, outcome))
        if not self._busy_since:
            # Not at once: the requests that came with this one are handled in the same turn of the loop.
            self._busy_since = self.loop.time()
            self.loop.call_soon(self._send)
        return outcome

    def _send(self) -> None:
        group, self._waiting = self._waiting[:APPEND_AT_MOST], self._waiting[APPEND_AT_MOST:]
        outcomes = self._under_way = [outcome for _, outcome in group]
        try:
            appended = self._submit([ballot for ballot, _ in group])
        except LandslideError as error:
            self._settle(outcomes, [Outcome(error.code)] * len(group))
            return
        except Exception as error:
            self._settle(outcomes, error)
            return
        # From when they came, not from now: who has waited for the group before doesn't wait twice.
        # Of a burst that needs several groups the later ones count as come with the first.
        deadline = self._oldest + settings.CAST_DEADLINE_SECONDS
        late = self.loop.call_at(deadline, self._too_late, outcomes, appended)

        def settle() -> None:
            late.cancel()
            self._settle(outcomes, appended.exception() or appended.result())

        def back(_: object) -> None:
            if not appended.cancelled():
                with suppress(RuntimeError):  # the loop has ended, and nobody waits on it any more
                    self.loop.call_soon_threadsafe(settle)

        appended.add_done_callback(back)

    def _settle(self, outcomes: list[asyncio.Future[Outcome]], result: BaseException | list[Outcome]) -> None:
        if self._under_way is not outcomes:
            return  # they have been told that it takes too long
        self._under_way = []
        if self._waiting:
            self.loop.call_soon(self._send)
        else:
            self._busy_since = 0.0
        if isinstance(result, BaseException):
            for outcome in outcomes:
                if not outcome.done():
                    outcome.set_exception(result)
            return
        for outcome, verdict in zip(outcomes, result, strict=True):
            if not outcome.done():  # else: who asked has hung up
                outcome.set_result(verdict)

    def _too_late(self, outcomes: list[asyncio.Future[Outcome]], appended: Future[list[Outcome]]) -> None:
        """Nobody waits longer than that. What is still in the queue leaves it, and was not written."""
        refused, self._waiting = self._waiting, []
        for _, outcome in refused:
            if not outcome.done():
                outcome.set_result(Outcome(Overloaded.code))
        error = Overloaded if appended.cancel() else OutcomeUnknown
        self._settle(outcomes, [Outcome(error.code)] * len(outcomes))
