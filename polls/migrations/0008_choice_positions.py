from django.db import migrations, models
from django.db.models import F, OuterRef, Subquery


def set_positions_by_number(apps, schema_editor):
    apps.get_model("polls", "Choice").objects.update(position=F("number"))


def copy_questions_to_rounds(apps, schema_editor):
    polls = apps.get_model("polls", "Poll").objects.filter(pk=OuterRef("poll_id"))
    apps.get_model("polls", "Round").objects.update(question=Subquery(polls.values("question")[:1]))


class Migration(migrations.Migration):

    dependencies = [
        ("polls", "0007_quarantined_ballots"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="choice",
            options={
                "ordering": ["position", "number"],
                "verbose_name": "choice",
                "verbose_name_plural": "choices",
            },
        ),
        migrations.AddField(
            model_name="choice",
            name="position",
            field=models.PositiveSmallIntegerField(default=0, editable=False),
        ),
        migrations.RunPython(set_positions_by_number, migrations.RunPython.noop),
        migrations.RemoveField(model_name="poll", name="next_number"),
        migrations.AddField(
            model_name="round",
            name="question",
            field=models.CharField(default="", max_length=300),
        ),
        migrations.RunPython(copy_questions_to_rounds, migrations.RunPython.noop),
        migrations.AddField(
            model_name="round",
            name="made_public_at",
            field=models.DateTimeField(null=True),
        ),
    ]
