"""Group commit: ballots that arrive during an append are appended together in the next one.

One round trip and one fsync serve many voters. There is no timer: an idle process appends at once, and
batches grow with the load (docs/decisions/append-queue.md).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from polls import timings
from polls.errors import LandslideError, OutcomeUnknown, Overloaded, Unavailable
from polls.votelog.admission import ACCEPTED, NewBallot, Outcome

logger = logging.getLogger(__name__)

#: Ballots per append. This is enough to be efficient, and doesn't block the store for long.
MAX_APPEND_BALLOTS = 1000
#: After this many seconds an append counts as stuck. New casts are then refused, since they would time out.
APPEND_STUCK_SECONDS = 3.0

Append = Callable[[Sequence[NewBallot]], list[Outcome]]


@dataclass(slots=True)
class _Group:
    ballots: Sequence[NewBallot]
    future: Future[list[Outcome]]


class AppendQueue:
    """A bounded queue of ballots, and the thread that appends them to the log."""

    def __init__(
        self, append: Append, on_accepted: Callable[[Sequence[NewBallot]], None], limit: int
    ) -> None:
        self._append = append
        self._on_accepted = on_accepted
        self._limit = limit
        self._waiting: deque[_Group] = deque()
        self._size = 0
        self._append_began = 0.0  # when the append in progress began; 0: none is in progress
        self._last_append_failed = False  # the store failed; a refused append doesn't count
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, ballots: Sequence[NewBallot]) -> Future[list[Outcome]]:
        """Queue ballots for the next append and return the future of their outcomes, in the same order.

        Takes at most MAX_APPEND_BALLOTS. Raises Overloaded if the queue is full. Raises Unavailable while an
        append is stuck, and while the next append after a failed one is running. After these errors, nothing
        was written. If the append itself fails, the outcomes are `outcome_unknown`. Ballots of a cancelled
        future aren't written.
        """
        group = _Group(ballots, Future())
        with self._wake:
            if self._is_stuck():
                raise Unavailable()
            if self._size + len(ballots) > self._limit:
                raise Overloaded()
            self._waiting.append(group)
            self._size += len(ballots)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="append-queue", daemon=True)
                self._thread.start()
            self._wake.notify()
        return group.future

    def _is_stuck(self) -> bool:
        return self._append_began > 0 and (
            self._last_append_failed or time.monotonic() - self._append_began > APPEND_STUCK_SECONDS
        )

    def _next_groups(self) -> list[_Group]:
        with self._wake:
            while not self._waiting:
                self._wake.wait()
            groups = [self._waiting.popleft()]
            size = len(groups[0].ballots)
            while self._waiting and size + len(self._waiting[0].ballots) <= MAX_APPEND_BALLOTS:
                groups.append(self._waiting.popleft())
                size += len(groups[-1].ballots)
            self._size -= size
            # Drop cancelled groups. From here on, the other groups can't be cancelled.
            return [group for group in groups if group.future.set_running_or_notify_cancel()]

    def _run(self) -> None:
        while True:
            groups = self._next_groups()
            if not groups:
                continue
            ballots = [ballot for group in groups for ballot in group.ballots]
            outcomes = self._append_all(ballots)
            start = 0
            for group in groups:
                end = start + len(group.ballots)
                group.future.set_result(outcomes[start:end])
                start = end
            self._report_accepted([b for b, o in zip(ballots, outcomes, strict=True) if o.code == ACCEPTED])

    def _append_all(self, ballots: Sequence[NewBallot]) -> list[Outcome]:
        failed = False
        self._append_began = time.monotonic()
        try:
            outcomes = self._append(ballots)
        except LandslideError as error:  # raised before anything was sent to the log
            outcomes = [Outcome(error.code)] * len(ballots)
        except Exception:
            logger.exception("append_failed", extra={"ballots": len(ballots)})
            failed = True
            outcomes = [Outcome(OutcomeUnknown.code)] * len(ballots)
        timings.APPEND.observe(time.monotonic() - self._append_began)
        self._append_began, self._last_append_failed = 0.0, failed
        return outcomes

    def _report_accepted(self, accepted: Sequence[NewBallot]) -> None:
        if not accepted:
            return
        try:
            self._on_accepted(accepted)
        except Exception:
            # The ballots are in the log, and the periodic sweep will count them.
            logger.exception("trigger_failed")
