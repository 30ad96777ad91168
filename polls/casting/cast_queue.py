"""Casts of one event loop on their way to the append queue, without a thread that waits for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from django.conf import settings

from polls.casting import backpressure
from polls.casting.append_queue import MAX_APPEND_BALLOTS
from polls.errors import LandslideError, OutcomeUnknown, Overloaded
from polls.votelog.admission import NewBallot, Outcome

#: A queue that has stood for so long (seconds) is no burst any more but an overload: from then on only so
#: many are let in, so that those who are accepted needn't wait, and the others hear at once that they should.
STANDING_QUEUE_SECONDS, STANDING_QUEUE_LIMIT = 0.1, 256
#: It ends as one this long after the last who was turned away.
RECOVERY_SECONDS = 1.0
#: Turning people away takes time too. When the event loop falls behind with that (is so late with a timer),
#: fewer are let in, down to so many; when it has caught up, more again.
LAG_CHECK_SECONDS, MAX_LAG_SECONDS, MIN_STANDING_LIMIT = 0.05, 0.02, 64


class CastQueue:
    """The casts of one event loop: what comes while a group is being appended goes together as the next.

    One future and one call between threads serve a whole group, where a thread that waits
    for each ballot would cost more than the ballot.
    """

    def __init__(self, submit: Callable[[Sequence[NewBallot]], Future[list[Outcome]]]) -> None:
        self._submit = submit
        self.loop = asyncio.get_running_loop()
        self._limit = settings.CAST_QUEUE_LIMIT
        self._waiting: list[tuple[NewBallot, asyncio.Future[Outcome]]] = []
        self._in_flight: list[asyncio.Future[Outcome]] = []
        self._busy_since = 0.0  # by the loop's clock; 0: idle
        self._first_cast_at = 0.0  # when the first of those that wait came
        self._standing_limit = STANDING_QUEUE_LIMIT
        self._overloaded_until = 0.0

    @property
    def full(self) -> bool:
        """Whether the next cast is one too many: a burst may fill the queue, a standing one is kept short."""
        size = len(self._waiting) + len(self._in_flight)
        if size < self._standing_limit:
            return False
        now = self.loop.time()
        if size >= self._limit:
            backpressure.record_refusal(RECOVERY_SECONDS)
            return True
        if now >= self._overloaded_until:
            if now - self._busy_since <= STANDING_QUEUE_SECONDS:
                return False
            self.loop.call_later(LAG_CHECK_SECONDS, self._check_lag, now + LAG_CHECK_SECONDS)
        self._overloaded_until = now + RECOVERY_SECONDS
        backpressure.record_refusal(RECOVERY_SECONDS)
        return True

    def _check_lag(self, due: float) -> None:
        """While people are turned away: whether we keep up with that."""
        now = self.loop.time()
        if now - due > MAX_LAG_SECONDS:
            self._standing_limit = max(MIN_STANDING_LIMIT, self._standing_limit * 3 // 4)
        else:
            self._standing_limit = min(STANDING_QUEUE_LIMIT, self._standing_limit + MIN_STANDING_LIMIT)
        if now < self._overloaded_until:
            self.loop.call_later(LAG_CHECK_SECONDS, self._check_lag, now + LAG_CHECK_SECONDS)
        else:
            self._standing_limit = STANDING_QUEUE_LIMIT

    def cast(self, ballot: NewBallot) -> asyncio.Future[Outcome]:
        """The future outcome of this ballot; Overloaded at once where there is no place for it."""
        if len(self._waiting) >= self._limit:
            raise Overloaded()  # let in while there was room, and held up on its way here
        outcome = self.loop.create_future()
        if not self._waiting:
            self._first_cast_at = self.loop.time()
        self._waiting.append((ballot, outcome))
        if not self._busy_since:
            # Not at once: the requests that came with this one are handled in the same turn of the loop.
            self._busy_since = self.loop.time()
            self.loop.call_soon(self._flush)
        return outcome

    def _flush(self) -> None:
        group, self._waiting = self._waiting[:MAX_APPEND_BALLOTS], self._waiting[MAX_APPEND_BALLOTS:]
        outcomes = self._in_flight = [outcome for _, outcome in group]
        try:
            appended = self._submit([ballot for ballot, _ in group])
        except LandslideError as error:
            self._resolve(outcomes, [Outcome(error.code)] * len(group))
            return
        except Exception as error:
            self._resolve(outcomes, error)
            return
        # From when they came, not from now: who has waited for the group before doesn't wait twice.
        # Of a burst that needs several groups the later ones count as come with the first.
        deadline = self._first_cast_at + settings.CAST_DEADLINE_SECONDS
        late = self.loop.call_at(deadline, self._time_out, outcomes, appended)

        def resolve() -> None:
            late.cancel()
            self._resolve(outcomes, appended.exception() or appended.result())

        def on_appended(_: object) -> None:
            if not appended.cancelled():
                with suppress(RuntimeError):  # the loop has ended, and nobody waits on it any more
                    self.loop.call_soon_threadsafe(resolve)

        appended.add_done_callback(on_appended)

    def _resolve(
        self, outcomes: list[asyncio.Future[Outcome]], result: BaseException | list[Outcome]
    ) -> None:
        if self._in_flight is not outcomes:
            return  # they have been told that it takes too long
        self._in_flight = []
        if self._waiting:
            self.loop.call_soon(self._flush)
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

    def _time_out(self, outcomes: list[asyncio.Future[Outcome]], appended: Future[list[Outcome]]) -> None:
        """Nobody waits longer than that. What is still in the queue leaves it, and was not written."""
        refused, self._waiting = self._waiting, []
        for _, outcome in refused:
            if not outcome.done():
                outcome.set_result(Outcome(Overloaded.code))
        error = Overloaded if appended.cancel() else OutcomeUnknown
        self._resolve(outcomes, [Outcome(error.code)] * len(outcomes))
