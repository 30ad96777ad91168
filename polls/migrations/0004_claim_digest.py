"""Shorten the digests in the claims of the database log from eight bytes to four."""

from django.db import migrations

OLD, NEW = 26, 22  # bytes per ballot in a claim; the digest is at the end, and its first half is kept
CHUNK = 5000


def shorten(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT poll_id, voter_key, record FROM polls_claim")
        rows = cursor.fetchall()
        for start in range(0, len(rows), CHUNK):
            cursor.executemany(
                "UPDATE polls_claim SET record = %s WHERE poll_id = %s AND voter_key = %s",
                [
                    (_shortened(bytes(record)), poll_id, bytes(voter_key))
                    for poll_id, voter_key, record in rows[start : start + CHUNK]
                ],
            )


def _shortened(record):
    return b"".join(record[i : i + NEW] for i in range(0, len(record), OLD))


class Migration(migrations.Migration):
    dependencies = [("polls", "0003_expected_turnout")]

    operations = [migrations.RunPython(shorten, elidable=True)]
