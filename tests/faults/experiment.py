"""One fault on a running system: a poll, voters, the fault, and then every check."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

from tests.faults import checks
from tests.faults.checks import Breach, Evidence
from tests.faults.harness import Harness
from tests.faults.journal import Journal
from tests.faults.load import CHOICES, Load, Pace
from tests.faults.stored_state import StoredState, backlog, read_stored_state
from tests.servers import wait_for

#: Accepted ballots must be counted, and all screens up to date, after this many seconds. It only bounds the
#: runner's patience; the measured figures are in the table.
PATIENCE = 60.0


@dataclass(frozen=True)
class Fault:
    """A row of the matrix. `strike` does it, while voters vote; what it returns is a remark for the table."""

    name: str
    on: str
    expected: str
    strike: Callable[[Scene], None]
    broken: tuple[str, ...]  # a build that is broken like this (tests/faults/inside/broken.py) …
    found_by: str  # … must be found out by this check
    times: int = 1  # in the full matrix
    long: bool = False  # too long for `make test`
    only_broken: bool = False  # nothing to see on the system as it is
    harness: Mapping[str, Any] | None = None  # the system it needs, if not the one that all share
    damages: bool = False  # a broken build leaves a system that nobody should go on with


@dataclass
class Outcome:
    """What one fault, or many of the same, came to."""

    fault: Fault
    submitted: int = 0
    acknowledged: int = 0
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    faults: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # seconds that a voter waited for an answer
    remarks: list[str] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)

    @property
    def as_expected(self) -> bool:
        return not self.breaches

    @property
    def found_out(self) -> bool:
        """Of a broken build: whether the check that is to notice did."""
        return any(breach.check == self.fault.found_by for breach in self.breaches)


class Scene:
    """What a strike has to hand."""

    def __init__(self, harness: Harness, load: Load, code: str, patience: float) -> None:
        self.harness, self.load, self.code, self.patience = harness, load, code, patience
        self.journal = load.journal
        self.failpoints = harness.failpoints
        self.faults = 0
        self.remarks: list[str] = []
        self.breaches: list[Breach] = []

    def struck(self, count: int = 1) -> None:
        self.faults += count

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def expect(self, holds: bool, check: str, what: str) -> None:
        """What this row promises beyond what always holds."""
        if not holds:
            self.breaches.append(Breach(check, what))

    def wait_for_acknowledgements(self, more: int = 20, seconds: float = 20) -> bool:
        """Whether so many more ballots are acknowledged within `seconds`."""
        target = self.journal.acknowledged + more
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self.journal.acknowledged >= target, min(seconds, self.patience))
        return self.journal.acknowledged >= target

    def wait_put_off(self, what: str) -> None:
        """Wait until voters are put off or get no answer; expect that no ballot is acknowledged."""
        put_off, acknowledged = self.journal.put_off + 10, self.journal.acknowledged + 60
        wait_for(
            lambda: self.journal.put_off >= put_off or self.journal.acknowledged >= acknowledged,
            what="anybody to be put off",
        )
        self.expect(self.journal.acknowledged < acknowledged, "acknowledged", what)

    def wait_taken(self, step: str) -> None:
        """Until a process has reached `step` and done there as it was told."""
        wait_for(lambda: self.failpoints.hit_by(step) is not None, self.patience, f"anybody at {step}")

    def last_few(self, what: str) -> None:
        """A handful of voters, and nobody after them whose news would make up for theirs; all see them."""
        self.load.cast("first", 5)
        self.wait_current(what)

    def all_counted(self) -> None:
        """Nobody comes, and whoever counts has done so with all there is."""
        self.load.pause()
        self.load.wait_settled()
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: _caught_up(self.harness), self.patience)

    def wait_current(self, what: str) -> None:
        """Let voters pause: every screen shows all that was acknowledged, and how long that took."""
        self.load.pause()
        self.load.wait_settled()
        began = time.monotonic()
        voters = sum(any(b.acknowledged for b in ballots) for ballots in self.journal.voters.values())
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: all(_ballots(w.tally) == voters for w in self.load.watchers), self.patience)
        late = [w for w in self.load.watchers if _ballots(w.tally) != voters]
        shown = [_ballots(watcher.tally) for watcher in self.load.watchers]
        self.expect(not late, "current", f"{what}: {voters} have voted, screens show {shown}")
        if not late:
            took = max(0.0, *(watcher.tallied_at - began for watcher in self.load.watchers))
            self.remark(f"screens current after {took:.1f} s")
        self.load.resume()


def _ballots(tally: Mapping[str, Any]) -> int:
    return int(tally.get("ballots", 0))


class Experiment:
    """Make a poll, open it, let voters vote, strike, close it; then compare stores and journal."""

    def __init__(
        self,
        harness: Harness,
        fault: Fault,
        pace: Pace,
        *,
        times: int = 1,
        broken: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self._harness, self._fault, self._pace, self._times = harness, fault, pace, times
        self._broken = fault.broken if broken else ()
        self._patience = patience

    def run(self) -> Outcome:
        began = time.monotonic()
        harness, outcome = self._harness, Outcome(self._fault)
        with tempfile.TemporaryDirectory(prefix="landslide-journal-") as folder:
            journal = Journal(Path(folder) / "journal.jsonl")
            code = harness.make_poll(CHOICES)
            load = Load(harness.system.port, code, journal, self._pace, harness.cookies, harness.key)
            scene = Scene(harness, load, code, self._patience)
            try:
                load.start()
                with harness.failpoints.switched_on(*self._broken):
                    self._vote(load, scene)
                    stored = self._close(load, scene)
                    self._compare(load, scene, stored, outcome)
            finally:
                load.end()
                journal.close()
        outcome.seconds = time.monotonic() - began
        return outcome

    def _vote(self, load: Load, scene: Scene) -> None:
        load.cast("early", 3)
        self._harness.step(scene.code, "open")
        load.resume()
        scene.wait_for_acknowledgements(self._pace.batch, seconds=self._patience)
        for _ in range(self._times):
            self._fault.strike(scene)
        load.finish()

    def _close(self, load: Load, scene: Scene) -> StoredState:
        """Count what was accepted, then close the poll; what the stores hold in the end."""
        harness, code = self._harness, scene.code
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: _caught_up(harness), self._patience)
        harness.step(code, "close")
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: read_stored_state(harness, code).state == "closed", self._patience)
        load.cast("late", 3)
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self._screens_closed(load), self._patience)
        return read_stored_state(harness, code)

    def _screens_closed(self, load: Load) -> bool:
        return all(watcher.tally.get("state") == "closed" for watcher in load.watchers)

    def _compare(self, load: Load, scene: Scene, stored: StoredState, outcome: Outcome) -> None:
        journal, http = scene.journal, self._harness.http
        shown = [http.get(f"/api/v1/polls/{scene.code}/tally/").json()]
        shown += [watcher.tally for watcher in load.watchers if watcher.tally]

        def status_of(receipt: str) -> str:
            answer = http.get(f"/api/v1/receipts/{receipt}/").json()
            return str(answer.get("status") if "poll" in answer else answer.get("code"))

        backwards = [breach for watcher in load.watchers for breach in watcher.breaches]
        evidence = Evidence(journal, stored, shown, backwards, status_of, self._pace.receipts)
        outcome.breaches = scene.breaches + checks.breaches(evidence)
        outcome.remarks = scene.remarks
        outcome.faults = scene.faults
        outcome.submitted, outcome.acknowledged = len(journal.ballots), journal.acknowledged
        outcome.counted = len(stored.ledger)
        outcome.lost = len(checks.lost_ballots(evidence))
        outcome.doubled = len(checks.doubled_ballots(evidence))
        outcome.slowest = load.slowest


def _caught_up(harness: Harness) -> bool:
    try:
        return backlog(harness) == 0
    except (psycopg.OperationalError, redis.RedisError, httpx.TransportError):
        return False
