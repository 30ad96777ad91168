"""Let voters cast ballots over HTTP, from a separate thread, and record everything in the journal.

The load is an open loop: ballots arrive at a fixed rate, even if earlier ones are still unanswered. A ballot
with an unknown outcome or a temporary refusal is sent again with the same ballot_id until there is a final
answer, as the voter's page does. Some voters send an acknowledged ballot again, change it, or try to vote
twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.checks import RECEIPTS_ASKED
from tests.faults.connection_pool import ConnectionPool, Heard, Hung, Lost
from tests.faults.journal import Journal, Kind, Submitted
from tests.faults.watcher import Watcher
from tests.servers import wait_for

#: The codes of temporary refusals and unknown outcomes. All other codes are final.
PASSING = (
    "rate_limited",
    "overloaded",
    "outcome_unknown",
    "log_inconsistent",
    "unavailable",
    "internal_error",
)
#: The error code with which each kind of inadmissible ballot must be refused.
DUE: dict[Kind, str] = {"second": "already_voted", "early": "poll_not_open", "late": "poll_not_open"}
#: An answer that takes longer is overdue. A cast has a deadline of ten seconds. A wait before the cast,
#: or a busy machine, may add a few seconds.
OVERDUE_SECONDS = 16.0
LONGEST_PAUSE = 2.0  # the most seconds between two tries, even if Retry-After says more
CHOICES = 5
RESERVE = 500  # cookies kept for the ballots of cast()


@dataclass(frozen=True)
class Pace:
    """The number and rate of the ballots, and how voters send them."""

    ballots: int = 200  # cast at least this many
    rate: float = 120.0  # ballots per second
    in_batches: float = 0.5  # the fraction that an API client sends in batches
    batch: int = 25
    #: The fraction of single ballots that are sent again. The same fraction of voters change their ballot,
    #: and the same fraction try to vote twice.
    odd: float = 0.05
    outstanding: int = 4_000  # no new ballots while more requests than this are unanswered
    patience: float = 60.0  # seconds after which a ballot without a final answer is given up
    receipts: int = RECEIPTS_ASKED  # how many receipts are looked up in the end


class Load:
    """A poll's voters. Call start() and resume(), inject the fault, then call finish()."""

    def __init__(
        self, port: int, code: str, journal: Journal, pace: Pace, cookies: Sequence[str], key: str
    ) -> None:
        self._path = f"/api/v1/polls/{code}/ballots/"
        self._port, self.journal, self.pace = port, journal, pace
        self._cookies, self._key = cookies, key
        self._next_cookie = self._next_voter = self._arrived = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="load", daemon=True)
        self._under_way: set[asyncio.Task[None]] = set()
        self._coming = threading.Event()
        self._stopping = False
        self.slowest = 0.0  # the longest time in seconds from a request to its answer
        self.overdue = 0  # requests that took longer than OVERDUE_SECONDS
        self.watchers = [Watcher(port, code) for _ in range(2)]

    # --- from any thread ---

    def start(self) -> None:
        self._thread.start()
        self._call(self._begin())

    def pause(self) -> None:
        """Start no new ballots. Ballots under way are sent until their final answer."""
        self._coming.clear()

    def resume(self) -> None:
        self._coming.set()

    def finish(self) -> None:
        """Wait until enough ballots were cast, and each has a final answer or was given up."""
        self.pace_done()
        self._stopping = True
        wait_for(lambda: not self._under_way, seconds=self.pace.patience + 60, what="the last answers")

    def pace_done(self) -> None:
        """Wait until the pace's number of ballots have been cast."""
        wait_for(lambda: self._arrived >= self.pace.ballots, seconds=600, what="enough ballots to be cast")

    def wait_settled(self) -> None:
        """Wait until each ballot has a final answer or was given up."""
        wait_for(lambda: not self._under_way, seconds=self.pace.patience + 60, what="answers")

    def cast(self, kind: Kind, count: int) -> None:
        """Cast `count` single ballots now, and wait for their final answers."""
        self._call(self._cast_some(kind, count))

    def end(self) -> None:
        """Close all connections and stop the thread."""
        if self._thread.is_alive():
            self._stopping = True
            self._call(self._hang_up())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # --- on the loop ---

    async def _begin(self) -> None:
        self._singles, self._batches = ConnectionPool(self._port), ConnectionPool(self._port, most=4)
        self._watching = [asyncio.create_task(watcher.watch()) for watcher in self.watchers]
        self._arriving = asyncio.create_task(self._arrive())

    async def _hang_up(self) -> None:
        tasks = [self._arriving, *self._watching, *self._under_way]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._singles.close()
        await self._batches.close()

    async def _arrive(self) -> None:
        """Start ballots at the pace's rate, by the clock."""
        due, last, waiting = 0.0, time.monotonic(), 0
        while not self._stopping:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            due, last = min(due + (now - last) * self.pace.rate, self.pace.rate), now
            if self._stopping:
                return  # finish() was called during the sleep and wouldn't wait for a new ballot
            if not self._coming.is_set() or len(self._under_way) > self.pace.outstanding:
                due = 0.0
            while due >= 1:
                due -= 1
                if random.random() < self.pace.in_batches or self._next_cookie + RESERVE > len(self._cookies):
                    waiting += 1
                else:
                    self._begin_task(self._single())
            if waiting >= self.pace.batch:
                self._begin_task(self._batch(waiting))
                waiting = 0

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.journal.complain("load", repr(error))

    def _new(self, kind: Kind = "first") -> Submitted:
        self._arrived += kind == "first"
        cookie = self._cookies[self._next_cookie]
        self._next_cookie += 1
        return Submitted(voter=f"cookie {cookie}", selection=_pick(), kind=kind)

    async def _single(self) -> None:
        ballot = self._new()
        await self._see_through(ballot)
        if not ballot.acknowledged:
            return
        luck = random.random() / self.pace.odd
        if luck < 1:
            await self._see_through(ballot)  # sent again, it must get the same receipt
        elif luck < 2:
            change = Submitted(ballot.voter, _pick(), "change", replaces=ballot.ballot_id)
            await self._see_through(change)
        elif luck < 3:
            await self._see_through(Submitted(ballot.voter, _pick(), "second"))

    async def _cast_some(self, kind: Kind, count: int) -> None:
        await asyncio.gather(*(self._see_through(self._new(kind)) for _ in range(count)))

    async def _see_through(self, ballot: Submitted) -> None:
        """Send the ballot until it has a final answer. Ballots of the kind "once" are sent only once."""
        headers = (
            f"Content-Type: application/json\r\nCookie: voter={ballot.voter.removeprefix('cookie ')}\r\n"
        )
        deadline = time.monotonic() + self.pace.patience
        while time.monotonic() < deadline:
            self.journal.submitted(ballot)
            pause = 0.2
            try:
                heard = await self._ask(self._singles, self._path, headers, _body(ballot))
            except Lost as error:
                self.journal.lose_sight(ballot, str(error))
            else:
                if heard.status == 202:
                    self.journal.acknowledge(ballot, heard.document["receipt"])
                    return
                code = str((heard.document or {}).get("code", heard.status))
                if self._settles(ballot, code, heard):
                    return
                pause = _pause(heard)
            if ballot.kind == "once":
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1))

    async def _batch(self, size: int) -> None:
        first, self._next_voter = self._next_voter, self._next_voter + size
        self._arrived += size
        left = [
            Submitted(voter=f"client {number}", selection=_pick(), lane="batch")
            for number in range(first, first + size)
        ]
        headers = f"Content-Type: application/json\r\nAuthorization: Api-Key {self._key}\r\n"
        deadline = time.monotonic() + self.pace.patience
        while left and time.monotonic() < deadline:
            for ballot in left:
                self.journal.submitted(ballot)
            body = b'{"ballots": [%b]}' % b", ".join(_body(ballot, voter=ballot.voter) for ballot in left)
            pause = 0.2
            try:
                heard = await self._ask(self._batches, f"{self._path}batch/", headers, body)
            except Lost as error:
                for ballot in left:
                    self.journal.lose_sight(ballot, str(error))
            else:
                left = self._take_outcomes(left, heard)
                pause = _pause(heard)
            await asyncio.sleep(pause * random.uniform(0.5, 1) if left else 0)

    def _take_outcomes(self, ballots: list[Submitted], heard: Heard) -> list[Submitted]:
        """Record the answers, and return the ballots that have to be sent again."""
        if heard.status != 200:
            code = str((heard.document or {}).get("code", heard.status))
            return [ballot for ballot in ballots if not self._settles(ballot, code, heard)]
        left = []
        for ballot, outcome in zip(ballots, heard.document["outcomes"], strict=True):
            if outcome.get("status") == "accepted":
                self.journal.acknowledge(ballot, outcome["receipt"])
            elif not self._settles(ballot, outcome["code"], None):
                left.append(ballot)
        return left

    async def _ask(self, lines: ConnectionPool, path: str, headers: str, body: bytes) -> Heard:
        began = time.monotonic()
        try:
            return await lines.ask("POST", path, headers, body)
        except Hung as error:
            self.journal.complain("hung", str(error))
            raise
        finally:
            took = time.monotonic() - began
            self.slowest = max(self.slowest, took)
            self.overdue += took > OVERDUE_SECONDS

    def _settles(self, ballot: Submitted, code: str, heard: Heard | None) -> bool:
        if heard is not None and heard.status in (429, 503) and not heard.retry_after:
            self.journal.complain("no_retry_after", code)
        if code not in PASSING:
            self.journal.refuse(ballot, code, for_good=True)
            if code != DUE.get(ballot.kind):
                self.journal.complain("refused", f"{ballot.kind} ballot: {code}")
            return True
        if code in ("outcome_unknown", "internal_error"):
            self.journal.lose_sight(ballot, code)
        else:
            self.journal.refuse(ballot, code, for_good=False)
        return False


def _pick() -> tuple[int, ...]:
    return (random.randint(1, CHOICES),)


def _pause(heard: Heard) -> float:
    return min(float(heard.retry_after or 0.2), LONGEST_PAUSE)


def _body(ballot: Submitted, **more: str) -> bytes:
    body = {"selections": ballot.selection, "ballot_id": ballot.ballot_id, **more}
    if ballot.replaces:
        body["replaces"] = ballot.replaces
    return json.dumps(body).encode()
