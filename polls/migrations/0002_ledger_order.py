"""On SQLite, recreate the ledger's table WITHOUT ROWID, ordered by its primary key, which is a keyed hash.

A rowid would reveal the order in which people voted.
"""

from django.db import migrations


def without_rowid(apps, schema_editor):
    if schema_editor.connection.vendor != "sqlite":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'polls_ballot'")
        (sql,) = cursor.fetchone()
        cursor.execute("DROP TABLE polls_ballot")
        cursor.execute(f"{sql} WITHOUT ROWID")


class Migration(migrations.Migration):
    dependencies = [("polls", "0001_initial")]
    operations = [migrations.RunPython(without_rowid, migrations.RunPython.noop)]
