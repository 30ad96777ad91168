"""Inject one fault into a running system while voters vote, then run every check."""

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

#: How many seconds the runner waits for accepted ballots to be counted and all screens to be up to date. The
#: table in docs/faults.md has the measured times.
PATIENCE = 60.0


@dataclass(frozen=True)
class Fault:
    """A row of the matrix. `strike` injects the fault while voters vote."""

    name: str
    on: str
    expected: str
    strike: Callable[[Scene], None]
    broken: tuple[str, ...]  # the defects of the broken build, by name (tests/faults/inside/broken.py)
    found_by: str  # the check that must detect the broken build
    times: int = 1  # how often the full matrix injects the fault
    long: bool = False  # too long for `make test`
    only_broken: bool = False  # run only on the broken build
    harness: Mapping[str, Any] | None = None  # options of the system, if it can't be the shared one
    damages: bool = False  # the broken build damages the system, so later rows need a new one


@dataclass
class Outcome:
    """The result of injecting a fault once or several times."""

    fault: Fault
    submitted: int = 0
    acknowledged: int = 0
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    faults: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # the longest time in seconds that a voter waited for an answer
    remarks: list[str] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)

    @property
    def as_expected(self) -> bool:
        return not self.breaches

    @property
    def found_out(self) -> bool:
        """Whether the expected check detected the broken build."""
        return any(breach.check == self.fault.found_by for breach in self.breaches)


class Scene:
    """The system, the load and the findings of one experiment, for the functions that inject faults."""

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
        """Record a breach unless `holds`. Rows check their own promises with it, beyond the invariants."""
        if not holds:
            self.breaches.append(Breach(check, what))

    def wait_for_acknowledgements(self, more: int = 20, seconds: float = 20) -> bool:
        """Whether `more` further ballots are acknowledged within `seconds`."""
        target = self.journal.acknowledged + more
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self.journal.acknowledged >= target, min(seconds, self.patience))
        return self.journal.acknowledged >= target

    def wait_put_off(self, what: str) -> None:
        """Wait until ten tries end without a final answer, and expect that no ballots are acknowledged.

        Ballots that were under way when the fault began may still be acknowledged, so fewer than 60 are
        allowed.
        """
        put_off, acknowledged = self.journal.put_off + 10, self.journal.acknowledged + 60
        wait_for(
            lambda: self.journal.put_off >= put_off or self.journal.acknowledged >= acknowledged,
            what="tries without a final answer",
        )
        self.expect(self.journal.acknowledged < acknowledged, "acknowledged", what)

    def wait_taken(self, step: str) -> None:
        """Wait until a process has reached `step` and has killed or stopped itself there."""
        wait_for(lambda: self.failpoints.hit_by(step) is not None, self.patience, f"a process at {step}")

    def last_few(self, what: str) -> None:
        """Cast only five more ballots, and expect that all screens show them.

        Later ballots would update the screens and so hide a lost announcement.
        """
        self.load.cast("first", 5)
        self.wait_current(what)

    def all_counted(self) -> None:
        """Pause the load and wait until every accepted ballot is counted."""
        self.load.pause()
        self.load.wait_settled()
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: _caught_up(self.harness), self.patience)

    def wait_current(self, what: str) -> None:
        """Pause the load and expect every screen to show all acknowledged ballots. Note how long it took."""
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
    """Open a poll, let voters vote, inject the fault, close the poll, then compare stores and journal."""

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
        """Wait until all accepted ballots are counted, close the poll, and return the stored state."""
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
