"""Add the search text of polls, and clamp times to the bounds of `polls.text.timestamps`.

Times are clamped in SQL, because Python can't read all times that a database can hold.
"""

from django.db import migrations, models

from polls.text.timestamps import EARLIEST, LATEST
from polls.text.plain_text import folded

TIMES = [("Poll", "opens_at"), ("Poll", "closes_at"), ("ApiClient", "expiry_date")]
_CHUNK_ROWS = 1000


def fold(apps, schema_editor):
    polls = apps.get_model("polls", "Poll").objects.using(schema_editor.connection.alias)
    last = 0
    while rows := list(polls.filter(pk__gt=last).order_by("pk").values_list("pk", "question", "code")[:_CHUNK_ROWS]):
        for pk, question, code in rows:
            polls.filter(pk=pk).update(search_text=f"{folded(question)}\n{folded(code)}")
        last = rows[-1][0]


def clamp(apps, schema_editor):
    for model, name in TIMES:
        rows = apps.get_model("polls", model).objects.using(schema_editor.connection.alias)
        rows.filter(**{f"{name}__lt": EARLIEST}).update(**{name: EARLIEST})
        rows.filter(**{f"{name}__gt": LATEST}).update(**{name: LATEST})


class Migration(migrations.Migration):

    dependencies = [
        ('polls', '0014_deadletter_accepted_at'),
    ]

    operations = [
        migrations.AddField(
            model_name='poll',
            name='search_text',
            field=models.TextField(default='', editable=False),
        ),
        migrations.RunPython(fold, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(clamp, migrations.RunPython.noop, elidable=True),
    ]
