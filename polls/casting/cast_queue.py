"""Casts of one event loop on their way to the append queue."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from django.conf import settings

from polls import timings
from polls.casting import backpressure
from polls.casting.append_queue import MAX_APPEND_BALLOTS
from polls.errors import LandslideError, OutcomeUnknown, Overloaded
from polls.votelog.admission import NewBallot, Outcome

#: A queue that hasn't been empty for 100 ms is an overload, not a burst. From then on at most 256 casts may
#: wait, so that accepted casts are answered soon and the others are refused at once.
STANDING_QUEUE_SECONDS, STANDING_QUEUE_LIMIT = 0.1, 256
#: The overload ends this many seconds after the last refusal.
RECOVERY_SECONDS = 1.0
#: Refusing takes time too. So during an overload, this limit is adapted every 50 ms: lowered if the event
#: loop lags by more than 20 ms, otherwise raised. It stays between 64 and 256.
LAG_CHECK_SECONDS, MAX_LAG_SECONDS, MIN_STANDING_LIMIT = 0.05, 0.02, 64


class CastQueue:
    """The casts of one event loop: those that arrive during an append form the next group.

    One future and one call between threads serve a whole group. A thread per ballot would cost too much.
    """

    def __init__(self, submit: Callable[[Sequence[NewBallot]], Future[list[Outcome]]]) -> None:
        self._submit = submit
        self.loop = asyncio.get_running_loop()
        self._limit = settings.CAST_QUEUE_LIMIT
        self._waiting: list[tuple[NewBallot, asyncio.Future[Outcome]]] = []
        self._in_flight: list[asyncio.Future[Outcome]] = []
        self._busy_since = 0.0  # by the loop's clock; 0: idle
        self._first_cast_at = 0.0  # when the first of the waiting casts arrived
        self._standing_limit = STANDING_QUEUE_LIMIT
        self._overloaded_until = 0.0

    @property
    def full(self) -> bool:
        """Whether to refuse the next cast. A burst may fill the queue; a standing queue is kept short."""
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
        """Adapt the standing limit to the event loop's lag. Runs again and again during an overload."""
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
        """Queue a ballot and return the future of its outcome; raise Overloaded if the queue is full."""
        if len(self._waiting) >= self._limit:
            raise Overloaded()  # other casts took the room after `full` was checked
        outcome = self.loop.create_future()
        if not self._waiting:
            self._first_cast_at = self.loop.time()
        self._waiting.append((ballot, outcome))
        if not self._busy_since:
            # Flush at the end of this turn of the loop, so that its other requests join the group.
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
        # The deadline counts from the arrival of the first cast, so it includes the wait for the previous
        # group. If a burst needs several groups, the first cast's time counts for all of them.
        first_cast_at = self._first_cast_at
        deadline = first_cast_at + settings.CAST_DEADLINE_SECONDS
        late = self.loop.call_at(deadline, self._time_out, outcomes, appended)

        def resolve() -> None:
            late.cancel()
            self._resolve(outcomes, appended.exception() or appended.result())
            timings.ACCEPT.observe(self.loop.time() - first_cast_at)

        def on_appended(_: object) -> None:
            if not appended.cancelled():
                with suppress(RuntimeError):  # the loop has ended, so nobody waits
                    self.loop.call_soon_threadsafe(resolve)

        appended.add_done_callback(on_appended)

    def _resolve(
        self, outcomes: list[asyncio.Future[Outcome]], result: BaseException | list[Outcome]
    ) -> None:
        if self._in_flight is not outcomes:
            return  # they have timed out
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
            if not outcome.done():  # cancelled if the client hung up
                outcome.set_result(verdict)

    def _time_out(self, outcomes: list[asyncio.Future[Outcome]], appended: Future[list[Outcome]]) -> None:
        """Answer all casts at the deadline. Casts that are still queued are dropped and never written."""
        refused, self._waiting = self._waiting, []
        for _, outcome in refused:
            if not outcome.done():
                outcome.set_result(Outcome(Overloaded.code))
        error = Overloaded if appended.cancel() else OutcomeUnknown
        self._resolve(outcomes, [Outcome(error.code)] * len(outcomes))
