"""Add triggers that make the audit log's table append-only."""

from django.db import migrations

TABLE = "polls_record"

POSTGRESQL = (
    """
    CREATE FUNCTION polls_record_stands() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'records are append-only'; END $$
    """,
    f"""
    CREATE TRIGGER record_stands BEFORE UPDATE OR DELETE ON {TABLE}
    FOR EACH ROW EXECUTE FUNCTION polls_record_stands()
    """,
    f"""
    CREATE TRIGGER records_stand BEFORE TRUNCATE ON {TABLE}
    FOR EACH STATEMENT EXECUTE FUNCTION polls_record_stands()
    """,
)
POSTGRESQL_BACK = (
    f"DROP TRIGGER record_stands ON {TABLE}",
    f"DROP TRIGGER records_stand ON {TABLE}",
    "DROP FUNCTION polls_record_stands()",
)

_REFUSE = "BEGIN SELECT RAISE(ABORT, 'records are append-only'); END"
SQLITE = (
    f"CREATE TRIGGER record_unchanged BEFORE UPDATE ON {TABLE} {_REFUSE}",
    f"CREATE TRIGGER record_undeleted BEFORE DELETE ON {TABLE} {_REFUSE}",
    # INSERT OR REPLACE deletes the old row without firing the DELETE trigger.
    f"""
    CREATE TRIGGER record_unreplaced BEFORE INSERT ON {TABLE}
    WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id) {_REFUSE}
    """,  # noqa: S608
)
SQLITE_BACK = tuple(
    f"DROP TRIGGER {name}" for name in ("record_unchanged", "record_undeleted", "record_unreplaced")
)


def _run(postgresql, sqlite):
    def operation(apps, schema_editor):
        for statement in postgresql if schema_editor.connection.vendor == "postgresql" else sqlite:
            schema_editor.execute(statement)

    return operation


class Migration(migrations.Migration):
    dependencies = [("polls", "0005_who_may_vote")]

    operations = [migrations.RunPython(_run(POSTGRESQL, SQLITE), _run(POSTGRESQL_BACK, SQLITE_BACK))]
