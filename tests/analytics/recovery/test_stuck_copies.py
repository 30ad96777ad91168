"""A worker that stops in the middle of writing ballots doesn't keep its partition."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from analytics import tasks
from analytics.counting import checkpoints
from analytics.recovery import stuck_copies
from tests.factories import fill, open_poll
from tests.servers import PostgreSQL, wait_for

pytestmark = [pytest.mark.full_only, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def connect(postgresql: PostgreSQL) -> Iterator[Callable[..., psycopg.Connection[Any]]]:
    with ExitStack() as until_the_end:

        def connect(name: str = "landslide") -> psycopg.Connection[Any]:
            address = postgresql.url(connection.settings_dict["NAME"])
            return until_the_end.enter_context(psycopg.connect(f"{address}?application_name={name}"))

        yield connect


def end_copies(patience: str = "50ms") -> int:
    """Call end_copies() with a short timeout for idle transactions, and reset the timeout afterwards."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [patience])
        try:
            return stuck_copies.end_copies()
        finally:
            cursor.execute("RESET idle_in_transaction_session_timeout")


@contextlib.contextmanager
def copying(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Open a session that has locked the checkpoints and is in the middle of a COPY."""
    connection.execute("SELECT * FROM analytics_checkpoint FOR UPDATE")
    with contextlib.suppress(psycopg.Error), connection.cursor().copy("COPY polls_ballot FROM STDIN"):
        yield


def wait(seconds: float = 0.2) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def test_a_backend_stuck_in_copy_is_ended(connect: Any) -> None:
    checkpoints.expected_heads()
    with copying(connect()):
        wait_for(lambda: end_copies() == 1, what="the stuck session")
        with transaction.atomic(), connection.cursor() as cursor:  # its locks are released
            cursor.execute("SET LOCAL lock_timeout = '30s'")
            cursor.execute("SELECT * FROM analytics_checkpoint FOR UPDATE")
        wait_for(lambda: end_copies() == 0, what="the end of its session")


@pytest.mark.parametrize("patience", ["1h", "0"], ids=["has just begun", "may take for ever"])
def test_a_recent_copy_is_left_alone(connect: Any, patience: str) -> None:
    with copying(connect()):
        wait()
        assert end_copies(patience) == 0


def test_a_backup_that_is_restored_is_left(connect: Any) -> None:
    with copying(connect("pg_restore")):
        wait()
        assert end_copies() == 0


def test_where_nobody_may_look_ballots_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck_copies, "_END_STUCK", "SELECT pid FROM a_view_that_is_not_there")
    fill(open_poll(), range(20), 1)
    tasks.sweep()
    assert checkpoints.backlog() == 0
