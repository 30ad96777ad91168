"""The database vote log, on the database of this run: PostgreSQL, and SQLite with --embedded."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from polls.models import LogEntry
from polls.votelog.contract import VoteLog
from polls.votelog.database import DatabaseVoteLog
from tests.polls.votelog.contract import (
    NEW,
    POLL,
    VoteLogContract,
    append,
    ballot,
    ballots,
    codes,
    make,
    open_gate,
)


@pytest.fixture
def log(db: None) -> VoteLog:
    log = DatabaseVoteLog()
    make(log)
    return log


class TestDatabaseVoteLog(VoteLogContract):
    @pytest.fixture
    def store_now(self, db: None) -> Callable[[], int]:
        if connection.vendor == "postgresql":
            query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        else:
            query = "SELECT CAST(strftime('%s', 'now') * 1000 + substr(strftime('%f', 'now'), 4) AS INTEGER)"

        def now() -> int:
            with connection.cursor() as cursor:
                cursor.execute(query, None)
                return int(cursor.fetchone()[0])

        return now

    def test_a_failed_append_leaves_nothing_behind(
        self, log: VoteLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_gate(log)

        def fail(*_: object) -> None:
            raise RuntimeError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(DatabaseVoteLog, "_write_claims", staticmethod(fail))
            with pytest.raises(RuntimeError, match="disk"):
                append(log, ballot(1), ballot(2))
        assert ballots(log) == []
        assert append(log, ballot(1), ballot(2)) == [NEW, NEW]
        assert [entry.position for entry in ballots(log)] == [1, 2]

    @pytest.mark.django_db(transaction=True)
    def test_a_rolled_back_append_leaves_nothing_behind(self, log: VoteLog) -> None:
        """This is like a process killed before the commit. A retry is then a new ballot."""
        open_gate(log)
        with transaction.atomic():
            append(log, ballot(1))
            transaction.set_rollback(True)
        assert append(log, ballot(1)) == [NEW]
        assert LogEntry.objects.count() == 1

    def test_polls_are_independent(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, ballot(1))
        assert codes(append(log, ballot(1, poll=POLL + 1))) == ["poll_not_open"]
