"""A row of each sort from the matrix of faults, with few voters; `make faults` is the full run.

Each is run on the system as it is, where all must hold; and each check on a build that is broken on purpose,
which must be found out; the full run does that with every row.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import data_dir
from tests.faults import checks, matrix
from tests.faults.experiment import Fault
from tests.faults.fault_injection import FaultInjectionHarness
from tests.faults.journal import Journal, Submitted
from tests.faults.load import Pace
from tests.faults.matrix import Harnesses

pytestmark = [pytest.mark.faults, pytest.mark.slow]

#: One row of each kind, and those that check the most important promises. `make faults` runs the others, and
#: those of lost or poisoned logs, which wait for commands. tests/analytics/recovery/test_reconcile.py and
#: tests/analytics/counting/test_circuit_breaker.py do the same to real stores.
SHORT = {
    ("web", "SIGKILL after the append, before the answer"),
    ("worker", "SIGKILL in the transaction, after the ledger"),
    ("worker", "SIGKILL before the announcement"),
    ("Redis", "SIGKILL and restart (AOF always)"),
    ("PostgreSQL", "crash and restart"),
    ("worker", "SIGSTOP past its time-outs, then SIGCONT"),
    ("broker", "wake-ups lost"),
    ("Redis", "FLUSHALL of the channel layer, subscriptions cut"),
    ("web to Redis", "reset after the request, its reply lost"),
    ("worker to PostgreSQL", "reset after COMMIT, its reply lost"),
    ("Redis", "disk full"),
    ("web", "1,000 connects at once"),
}
#: All on one system, since starting one takes as long as several rows: this kind can do what the others can.
LAB = {"kind": FaultInjectionHarness}
ROWS = [replace(row, harness=LAB) for row in matrix.ROWS if (row.on, row.name) in SHORT]
#: So few at a time that those who wait for a system to come back ask it again a hundred times, not thousands.
PACE = Pace(ballots=110, rate=40, batch=10, receipts=25, outstanding=40)
#: Enough odd ones among them that a build which lets some vote twice can't get away with it by luck.
BROKEN = replace(PACE, odd=0.2, patience=2.5)
#: Where nobody ever gets an answer there is nothing to wait for.
IN_VAIN = replace(BROKEN, rate=25, patience=1.5), 2.5

#: The checks that find out builds broken in several ways at once. What each way spoils when it is alone
#: stands above: no other of the line makes its check fail.
TOGETHER = (
    # never_looks: current and screens. changes_selection: altered. random_receipts: receipts.
    # adds_to_result: result.
    ("current", "screens", "altered", "receipts", "result"),
    # forgets_claims: doubled. adds_twice: tally, screens and result. ignores_gate: gate and screens.
    ("doubled", "tally", "gate"),
    # never_appends: lost, doubled, gate and receipts. shows_old_tallies: backwards.
    ("lost", "backwards"),
    # always_unknown: unsettled. never_says_when: answers, and unsettled, since it has no other answer either.
    ("unsettled", "answers"),
)


def name_of(row: Fault) -> str:
    return f"{row.on}-{row.name}".replace(" ", "_")


@pytest.fixture(scope="module")
def harnesses(pytestconfig: pytest.Config) -> Iterator[Harnesses]:
    """Systems with servers of their own, since those are killed too."""
    harnesses = Harnesses(collected=pytestconfig.stash[data_dir] / "collected")
    yield harnesses
    harnesses.remove()


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_fault_and_what_must_hold(harnesses: Harnesses, row: Fault) -> None:
    outcome = matrix.strike(harnesses, row, PACE)
    assert outcome.breaches == []
    assert outcome.faults >= 1
    assert outcome.acknowledged > 100


def broken_together(names: tuple[str, ...]) -> Fault:
    """Join the broken builds of these checks in one fault. Only the first build's strike is needed."""
    builds = [row for name in names for row in matrix.BUILDS if row.found_by == name]
    return replace(builds[0], broken=tuple({name for row in builds for name in row.broken}), harness=LAB)


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
def test_a_broken_build_is_found_out(harnesses: Harnesses, names: tuple[str, ...]) -> None:
    pace, patience = IN_VAIN if "unsettled" in names else (BROKEN, matrix.BROKEN_PATIENCE)
    row = broken_together(names)
    outcome = matrix.strike_broken(harnesses, row, pace, patience)
    assert {breach.check for breach in outcome.breaches} >= {*names}, f"{row.broken}: {outcome.breaches}"


def test_the_short_form_names_rows_that_there_are() -> None:
    assert {(row.on, row.name) for row in ROWS} == SHORT
    own = {(row.on, row.name) for row in matrix.ROWS if row.harness not in (None, LAB)}
    assert not own & SHORT, "these need more than LAB has"


def test_every_check_can_fail() -> None:
    """Each check must find out some broken build, here and in the full run."""
    found = [name for names in TOGETHER for name in names]
    assert sorted(found) == sorted(row.found_by for row in matrix.BUILDS)
    assert {*found} >= {*checks.CHECKS, *(row.found_by for row in ROWS)} - {
        # What rows promise beyond what always holds; the full run breaks each row's own build.
        *("accepting", "alarm", "halted", "pace"),
    }


def test_a_journal_can_be_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    kept, lost, refused = Submitted("a", (1,)), Submitted("b", (2,)), Submitted("c", (3,), kind="late")
    for ballot in (kept, lost, refused, kept):
        journal.submitted(ballot)
    journal.acknowledge(kept, "r")
    journal.lose_sight(lost, "the connection ended")
    journal.refuse(refused, "poll_not_open", for_good=True)
    journal.close()
    again = Journal.read(journal.path)
    again.close()
    assert again.ballots == journal.ballots
    assert again.answers == journal.answers
    assert list(again.unsettled()) == [lost]
