"""The field `aside` is named quarantine_rule; its columns keep their name, so the database doesn't change."""

from django.db import migrations, models


def renamed(model, **options):
    field = models.CharField(max_length=20, default="", db_column="aside", **options)
    return [
        migrations.AlterField(model, "aside", field),
        migrations.RenameField(model, "aside", "quarantine_rule"),
    ]


class Migration(migrations.Migration):
    dependencies = [("polls", "0017_texts")]
    operations = [*renamed("deadletter", editable=False), *renamed("logentry")]
