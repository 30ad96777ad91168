"""Run one row of each kind of the fault matrix, with few voters. `make faults` runs all rows in full.

Each row runs on the unchanged product, where every check must pass. Each check then runs on a build that is
broken on purpose, and must fail. The full run does both with every row.
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

#: One row of each kind, and the rows of the most important promises. `make faults` runs the others, among
#: them the rows of lost or poisoned logs, which have to run slow commands. Two other tests cover such logs on
#: real stores: tests/analytics/recovery/test_reconcile.py and
#: tests/analytics/counting/test_circuit_breaker.py.
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
#: One system for all rows here, since starting a system takes as long as several rows. This one supports all
#: of them.
INJECTION = {"kind": FaultInjectionHarness}
ROWS = [replace(row, harness=INJECTION) for row in matrix.ROWS if (row.on, row.name) in SHORT]
#: Few ballots at a time: while a system is away, all unanswered ones are sent again and again.
PACE = Pace(ballots=110, rate=40, batch=10, receipts=25, outstanding=40)
#: Many voters try to vote twice, so that a build that lets some of them do it is always detected.
BROKEN = replace(PACE, odd=0.2, patience=2.5)
#: Builds that never give a final answer need less patience.
UNANSWERED = replace(BROKEN, rate=25, patience=1.5), 2.5

#: Each tuple stands for one broken build with several defects, and names the checks that must detect them.
#: The comment above it says which checks detect each of its defects alone.
TOGETHER = (
    # never_updates: current, screens; changes_selection: altered; random_receipts: receipts;
    # adds_to_result: result
    ("current", "screens", "altered", "receipts", "result"),
    # forgets_claims: doubled; adds_twice: tally, screens, result; ignores_gate: gate, screens
    ("doubled", "tally", "gate"),
    # never_appends: lost, doubled, gate, receipts; shows_old_tallies: backwards
    ("lost", "backwards"),
    # always_unknown: unsettled; never_says_when: answers, unsettled
    ("unsettled", "answers"),
)


def name_of(row: Fault) -> str:
    return f"{row.on}-{row.name}".replace(" ", "_")


@pytest.fixture(scope="module")
def harnesses(pytestconfig: pytest.Config) -> Iterator[Harnesses]:
    """Systems with their own stores, since tests kill these too."""
    harnesses = Harnesses(collected=pytestconfig.stash[data_dir] / "collected")
    yield harnesses
    harnesses.remove()


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_all_checks_pass_under_a_fault(harnesses: Harnesses, row: Fault) -> None:
    outcome = matrix.strike(harnesses, row, PACE)
    assert outcome.breaches == []
    assert outcome.faults >= 1
    assert outcome.acknowledged > 100


def broken_together(names: tuple[str, ...]) -> Fault:
    """Combine the broken builds of these checks, with the function of the first build."""
    builds = [row for name in names for row in matrix.BUILDS if row.found_by == name]
    return replace(
        builds[0], broken=tuple({name for row in builds for name in row.broken}), harness=INJECTION
    )


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
def test_checks_detect_a_broken_build(harnesses: Harnesses, names: tuple[str, ...]) -> None:
    pace, patience = UNANSWERED if "unsettled" in names else (BROKEN, matrix.BROKEN_PATIENCE)
    row = broken_together(names)
    outcome = matrix.strike_broken(harnesses, row, pace, patience)
    assert {breach.check for breach in outcome.breaches} >= {*names}, f"{row.broken}: {outcome.breaches}"


def test_the_rows_of_the_short_run_exist() -> None:
    assert {(row.on, row.name) for row in ROWS} == SHORT
    own = {(row.on, row.name) for row in matrix.ROWS if row.harness not in (None, INJECTION)}
    assert not own & SHORT, "these rows need another system"


def test_every_check_can_fail() -> None:
    """Each check must detect a broken build, here and in the full run."""
    found = [name for names in TOGETHER for name in names]
    assert sorted(found) == sorted(row.found_by for row in matrix.BUILDS)
    assert {*found} >= {*checks.CHECKS, *(row.found_by for row in ROWS)} - {
        # Checks of single rows; only the full run has broken builds for these.
        *("accepting", "alarm", "halted", "pace"),
    }


def test_a_journal_is_read_back_from_its_file(tmp_path: Path) -> None:
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
