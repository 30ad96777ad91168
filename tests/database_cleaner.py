"""Empty the database between tests that commit.

Django would TRUNCATE every table and create all permissions again, which takes 150 ms for each of thousands
of tests. Most tests leave rows in only five tables, and permissions never change.
"""

from django.db import connection, transaction

#: Filled by migrations, the same for all tests.
KEPT = {"django_content_type", "auth_permission", "django_migrations"}
#: The audit log, whose triggers refuse deletions.
RECORDS = "polls_record"


def empty_database() -> None:
    if connection.vendor == "postgresql":
        _empty_postgresql()
    else:
        _empty_sqlite()


def _empty_postgresql() -> None:
    tables = _tables()
    with transaction.atomic(), connection.cursor() as cursor:
        # Wait for writing threads that outlive their test, as TRUNCATE would.
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
        # Disable foreign keys, since all rows are deleted, and the audit log's trigger.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table in _filled(tables):
            cursor.execute(f"DELETE FROM {table}")


def _empty_sqlite() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for table in _filled(_tables()):
            triggers: list[tuple[str, str]] = []
            if table == RECORDS:
                cursor.execute(
                    f"SELECT name, sql FROM sqlite_master WHERE tbl_name = '{table}' AND type = 'trigger'"
                )
                triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            cursor.execute(f"DELETE FROM {table}")
            for _, statement in triggers:
                cursor.execute(statement)


def _tables() -> list[str]:
    found = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(found) - KEPT)


def _filled(tables: list[str]) -> list[str]:
    question = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in tables)
    with connection.cursor() as cursor:
        cursor.execute(question)
        return [name for (name,) in cursor.fetchall()]
