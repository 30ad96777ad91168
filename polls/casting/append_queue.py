"""Gathers casts while an append is under way, and sends them together.

One fsync and one round trip so serve many voters, and nobody waits on a timer: an idle
process appends at once, a busy one in batches that grow with the load by themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from polls.errors import LandslideError, OutcomeUnknown, Overloaded, Unavailable
from polls.votelog.admission import ACCEPTED, NewBallot, Outcome

logger = logging.getLogger(__name__)

#: Ballots a call to the log: large enough to be efficient, small enough not to hold the store up.
MAX_APPEND_BALLOTS = 1000
#: An append that takes so long (seconds) hangs. Who comes while one does is turned away at once: they would
#: wait in vain, and each on a thread that somebody else needs.
APPEND_STUCK_SECONDS = 3.0

Append = Callable[[Sequence[NewBallot]], list[Outcome]]


@dataclass(slots=True)
class _Group:
    ballots: Sequence[NewBallot]
    future: Future[list[Outcome]]


class AppendQueue:
    """A queue of ballots with a limit, and the one thread of this process that appends them."""

    def __init__(
        self, append: Append, on_accepted: Callable[[Sequence[NewBallot]], None], limit: int
    ) -> None:
        self._append = append
        self._on_accepted = on_accepted
        self._limit = limit
        self._waiting: deque[_Group] = deque()
        self._size = 0
        self._append_began = 0.0  # the append that is under way; 0: none is
        self._last_append_failed = False  # the last one did, for want of a store
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, ballots: Sequence[NewBallot]) -> Future[list[Outcome]]:
        """Queue ballots that fit in one append; their outcomes come in the same order.

        Raises Overloaded, before anything is written, when too many are waiting already, and Unavailable
        while the store hangs; after it has failed one append at a time tries whether it is back.
        The future has an outcome for each ballot, `outcome_unknown` where the store failed. One that
        can still be cancelled has not been written, and then won't be.
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
        if not self._append_began:
            return False
        return self._last_append_failed or time.monotonic() - self._append_began > APPEND_STUCK_SECONDS

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
            # From here on a group can't be cancelled; one that was is not written at all.
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
        except LandslideError as error:  # before anything was sent to the log
            outcomes = [Outcome(error.code)] * len(ballots)
        except Exception:
            logger.exception("append_failed", extra={"ballots": len(ballots)})
            failed = True
            outcomes = [Outcome(OutcomeUnknown.code)] * len(ballots)
        self._append_began, self._last_append_failed = 0.0, failed
        return outcomes

    def _report_accepted(self, accepted: Sequence[NewBallot]) -> None:
        if not accepted:
            return
        try:
            self._on_accepted(accepted)
        except Exception:
            # The ballots are in; the sweep finds them without this wake-up.
            logger.exception("wake_up_failed")
