"""The audit log is append-only, and its chain reveals changes made in the database itself."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from polls.audit_log import record, verify_chain
from polls.models import Record
from tests.threads import at_once

pytestmark = pytest.mark.django_db


def add_records(count: int = 5) -> list[Record]:
    return [record("user ann", "poll opened", "TEA3", round=n) for n in range(count)]


def run(sql: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def without_triggers(sql: str, *values: Any) -> None:
    """Change rows without the triggers, as the owner of the database can."""
    if connection.vendor == "postgresql":
        run("ALTER TABLE polls_record DISABLE TRIGGER USER")
        run(sql, *values)
        run("ALTER TABLE polls_record ENABLE TRIGGER USER")
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'polls_record'")
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TRIGGER {name}")
        cursor.execute(sql, values)


def test_a_record_can_be_read_back() -> None:
    row = record("API client ab12 Radio", "poll changed", "TEA3", changed={"question": ["Tea?", "Coffee?"]})
    row.refresh_from_db()
    assert (row.actor, row.action, row.poll_code) == ("API client ab12 Radio", "poll changed", "TEA3")
    assert row.detail == {"changed": {"question": ["Tea?", "Coffee?"]}}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE polls_record SET actor = 'nobody'",
        "DELETE FROM polls_record",
        "TRUNCATE polls_record",
        "INSERT OR REPLACE INTO polls_record SELECT id, at, 'nobody', action, poll_code, detail, digest"
        " FROM polls_record",
        "INSERT INTO polls_record SELECT * FROM polls_record ON CONFLICT (id) DO UPDATE SET actor = 'nobody'",
    ],
)
def test_the_database_refuses_to_change_records(statement: str) -> None:
    other_dialect = "OR REPLACE" if connection.vendor == "postgresql" else "TRUNCATE"
    if other_dialect in statement or (connection.vendor == "sqlite" and "ON CONFLICT" in statement):
        pytest.skip("not a statement of this database")
    add_records(2)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run(statement)
    assert verify_chain().rows == 2
    assert not Record.objects.filter(actor="nobody").exists()


def test_the_orm_can_not_change_records() -> None:
    row = add_records(1)[0]
    for change in (lambda: Record.objects.update(actor="nobody"), row.delete, Record.objects.all().delete):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    assert verify_chain().rows == 1


def test_an_unbroken_chain_is_verified() -> None:
    rows = add_records(5)
    report = verify_chain(known=rows[2].digest)
    assert (report.rows, report.last, report.broken, report.found) == (5, rows[-1].digest, [], True)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("UPDATE polls_record SET actor = 'somebody else' WHERE id = %s", 2),
        ("UPDATE polls_record SET action = 'poll closed' WHERE id = %s", 2),
        ("UPDATE polls_record SET poll_code = 'TEA4' WHERE id = %s", 2),
        ("""UPDATE polls_record SET detail = '{"round": 7}' WHERE id = %s""", 2),
        ("UPDATE polls_record SET at = '2001-01-01 00:00:00+00:00' WHERE id = %s", 2),
        ("DELETE FROM polls_record WHERE id = %s", 3),
    ],
)
def test_a_change_without_the_triggers_breaks_the_chain(change: str, broken: int) -> None:
    rows = add_records(5)
    without_triggers(change, rows[2].pk)
    assert verify_chain().broken == [rows[broken].pk]


def test_an_inserted_record_breaks_the_chain() -> None:
    add_records(3)
    Record.objects.create(at=add_records(1)[0].at, actor="user ann", action="poll opened", digest="0" * 64)
    last = Record.objects.latest("pk").pk
    assert verify_chain().broken == [last]


def test_a_digest_from_the_logs_reveals_a_missing_end() -> None:
    rows = add_records(3)
    without_triggers("DELETE FROM polls_record WHERE id = %s", rows[-1].pk)
    assert verify_chain().broken == []
    assert not verify_chain(known=rows[-1].digest).found
    with pytest.raises(CommandError, match="missing"):
        call_command("check_records", known=rows[-1].digest)


def test_the_command_reports_a_broken_chain() -> None:
    rows = add_records(3)
    out = StringIO()
    call_command("check_records", stdout=out)
    assert re.search(rf"3 records, unbroken.*{rows[-1].digest}", out.getvalue())
    without_triggers("DELETE FROM polls_record WHERE id = %s", rows[0].pk)
    with pytest.raises(CommandError, match=str(rows[1].pk)):
        call_command("check_records")


def test_any_text_can_be_recorded() -> None:
    record(
        "user \0\ud800" + "x" * 300,
        "login failed",
        "0123456789ABCDEFG",
        **{"a\0b": [1.5, b"\xff", {"c": {2}}]},
    )
    assert verify_chain().broken == []


def test_a_rolled_back_transaction_leaves_no_record() -> None:
    add_records(1)
    with transaction.atomic():
        record("user ann", "poll opened")
        transaction.set_rollback(True)
    add_records(1)
    report = verify_chain()
    assert (report.rows, report.broken) == (2, [])


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_make_one_chain() -> None:
    at_once(lambda n: record(f"user {n}", "poll opened"), range(40))
    report = verify_chain()
    assert (report.rows, report.broken) == (40, [])
