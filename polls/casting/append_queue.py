"""The append queue: ballots that arrive during an append are appended together in the next one.

One round trip and one fsync serve many voters. There is no timer: an idle process appends at once, and
appends grow with the load (docs/decisions/append-queue.md).
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

from polls import timings
from polls.errors import LandslideError, OutcomeUnknown, Overloaded, Unavailable
from polls.votelog.admission import ACCEPTED, NewBallot, Outcome

logger = logging.getLogger(__name__)

#: Ballots per append. An append of this size is efficient, and doesn't block the store for long.
MAX_APPEND_BALLOTS = 1000
#: After this many seconds an append counts as stuck. New entries are then refused, since they would time out.
APPEND_STUCK_SECONDS = 3.0

Append = Callable[[Sequence[NewBallot]], list[Outcome]]


@dataclass(slots=True, eq=False)
class Entry:
    """Ballots in the queue: one ballot of a voter, or a chunk of an API client's batch."""

    ballots: Sequence[NewBallot]
    #: This function is called once with the outcomes, in the order of the ballots: on the owner's loop, or in
    #: any thread.
    settle: Callable[[list[Outcome]], None]
    owner: "Owner | None" = None
    added_at: float = 0.0


Settled = list[tuple[Entry, list[Outcome]]]


class Owner(Protocol):
    """An event loop with entries. For each append, `deliver` runs once on this loop (see `deliver` below)."""

    loop: asyncio.AbstractEventLoop

    def deliver(self, settled: Settled) -> None: ...


class AppendQueue:
    """A bounded queue of ballots, and the thread that appends them to the log. Each process has one queue."""

    def __init__(
        self, append: Append, on_accepted: Callable[[Sequence[NewBallot]], None], limit: int
    ) -> None:
        self._append = append
        self._on_accepted = on_accepted
        self._limit = limit
        self._waiting: deque[Entry] = deque()
        self._size = 0  # ballots that wait
        self._in_flight: list[Entry] = []  # entries of the append in progress that haven't expired
        self._append_began = 0.0  # when the append in progress began; 0: none is in progress
        self._last_append_failed = False  # whether the store failed; a refused append doesn't count
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def add(self, entry: Entry) -> None:
        """Queue an entry of at most MAX_APPEND_BALLOTS ballots for the next append.

        Raises Overloaded if the queue is full. Raises Unavailable while an append is stuck, and during the
        append that follows a failed append. After these errors, nothing was written. Otherwise the entry is
        settled once. If the append itself fails, the outcomes are `outcome_unknown`. The owner of an entry
        has to call `wake`.
        """
        with self._lock:
            if self._append_began and self._is_stuck():
                raise Unavailable()
            if self._size + len(entry.ballots) > self._limit:
                raise Overloaded()
            entry.added_at = time.monotonic()
            self._waiting.append(entry)
            self._size += len(entry.ballots)
        if entry.owner is None:
            self.wake()

    def wake(self) -> None:
        """Append the waiting entries now, unless an append is in progress."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="append-queue", daemon=True)
                self._thread.start()
            self._wake.notify()

    def expire(self) -> float | None:
        """Settle all entries if the oldest one has reached its deadline; waiting ballots are never written.

        Returns the seconds until the next deadline, or None if the queue is empty.
        """
        with self._lock:
            entries = self._in_flight or self._waiting
            if not entries:
                return None
            left = entries[0].added_at + settings.CAST_DEADLINE_SECONDS - time.monotonic()
            if left > 0:
                return float(left)
            in_flight, self._in_flight = self._in_flight, []
            waiting = list(self._waiting)
            self._waiting.clear()
            self._size = 0
        for expired, error in ((in_flight, OutcomeUnknown), (waiting, Overloaded)):
            _settle(expired, [Outcome(error.code)] * sum(len(entry.ballots) for entry in expired))
        return None

    def _is_stuck(self) -> bool:
        return self._last_append_failed or time.monotonic() - self._append_began > APPEND_STUCK_SECONDS

    def _next_entries(self) -> list[Entry]:
        with self._lock:
            while not self._waiting:
                self._wake.wait()
            entries = [self._waiting.popleft()]
            size = len(entries[0].ballots)
            while self._waiting and size + len(self._waiting[0].ballots) <= MAX_APPEND_BALLOTS:
                entries.append(self._waiting.popleft())
                size += len(entries[-1].ballots)
            self._size -= size
            self._in_flight = entries
            return entries

    def _run(self) -> None:
        while True:
            ballots = [ballot for entry in self._next_entries() for ballot in entry.ballots]
            outcomes = self._append_all(ballots)
            with self._lock:
                entries, self._in_flight = self._in_flight, []
            _settle(entries, outcomes)
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


def _settle(entries: Sequence[Entry], outcomes: list[Outcome]) -> None:
    """Deliver the outcomes, with one call for each owner."""
    of_owners: dict[Owner | None, Settled] = {}
    start = 0
    for entry in entries:
        end = start + len(entry.ballots)
        of_owners.setdefault(entry.owner, []).append((entry, outcomes[start:end]))
        start = end
    for owner, settled in of_owners.items():
        if owner is None:
            deliver(settled)
        else:
            with suppress(RuntimeError):  # the loop has ended, so nobody waits
                owner.loop.call_soon_threadsafe(owner.deliver, settled)


def deliver(settled: Settled) -> None:
    """Give each entry its outcomes."""
    for entry, outcomes in settled:
        try:
            entry.settle(outcomes)
        except Exception:
            logger.exception("answer_failed")  # the other entries still get their outcomes
    timings.ACCEPT.observe(time.monotonic() - settled[0][0].added_at)
