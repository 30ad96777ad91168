"""Every row of the matrix of faults, with few voters; `make faults` is the full run.

Each is run on the system as it is, where all must hold; and each check on a build that is broken on purpose,
which must be found out; the full run does that with every row. Rows share a system unless they name one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import data_dir
from tests.faults import checks, matrix
from tests.faults.campaign import Fault
from tests.faults.journal import Journal, Submitted
from tests.faults.matrix import Stands

# Longer than for others: the first of them starts a system, and each waits for processes that start anew.
pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]

#: One of each sort, and those whose promise is the dearest: the others are for `make faults`.
SHORT = {
    ("web", "SIGKILL before the append"),
    ("web", "SIGKILL after the append, before the answer"),
    ("worker", "SIGKILL in the transaction, after the ledger"),
    ("worker", "SIGKILL after the commit, before the trim"),
    ("worker", "SIGKILL before the announcement"),
    ("Redis", "SIGKILL and restart (AOF always)"),
    ("PostgreSQL", "crash and restart"),
    ("worker", "SIGSTOP past its time-outs, then SIGCONT"),
    ("broker", "wake-ups lost"),
    ("Redis", "FLUSHALL of the channel layer, subscriptions cut"),
    ("web to Redis", "reset after the request, its reply lost"),
    ("worker to PostgreSQL", "reset after COMMIT, its reply lost"),
    ("Redis", "disk full"),
    ("Redis", "vote log emptied"),
    ("vote log", "poison entries, all of one poll"),
    ("web", "1,000 connects at once"),
}
# The system that most share comes last, since broken builds go on with it.
ROWS = matrix.in_order(row for row in matrix.ROWS if (row.on, row.name) in SHORT)[::-1]


def name_of(row: Fault) -> str:
    return f"{row.on}-{row.name}".replace(" ", "_")


@pytest.fixture(scope="module")
def stands(pytestconfig: pytest.Config) -> Iterator[Stands]:
    """Systems with servers of their own, since those are killed too."""
    stands = Stands(collected=pytestconfig.stash[data_dir] / "collected")
    yield stands
    stands.remove()


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_fault_and_what_must_hold(stands: Stands, row: Fault) -> None:
    outcome = matrix.strike(stands, row)
    assert outcome.breaches == []
    assert outcome.faults >= 1
    assert outcome.acknowledged > 100


@pytest.mark.parametrize("row", matrix.BUILDS, ids=name_of)
def test_a_broken_build_is_found_out(stands: Stands, row: Fault) -> None:
    outcome = matrix.strike_broken(stands, row)
    assert outcome.found_out, f"{row.broken} should be noticed by {row.found_by}: {outcome.breaches}"


def test_the_short_form_names_rows_that_there_are() -> None:
    assert {(row.on, row.name) for row in ROWS} == SHORT


def test_every_check_can_fail() -> None:
    """By name, each is what some broken build must be found out by."""
    assert {row.found_by for row in matrix.BUILDS} >= {*checks.CHECKS, *(row.found_by for row in ROWS)} - {
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
