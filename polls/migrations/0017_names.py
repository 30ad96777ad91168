"""New labels and help texts, and better field names. Columns keep their names: the database doesn't change."""

import django.core.validators
from django.db import migrations, models

import polls.keys


def renamed(model, old, new, field):
    """Name the column in the field first, so that the second operation is a change of state alone."""
    return [migrations.AlterField(model, old, field), migrations.RenameField(model, old, new)]


def quarantine_rule(model, **options):
    field = models.CharField(max_length=20, default="", db_column="aside", **options)
    return renamed(model, "aside", "quarantine_rule", field)


class Migration(migrations.Migration):
    dependencies = [("polls", "0016_released_index")]

    operations = [
        migrations.AlterModelOptions(
            name='record',
            options={'ordering': ['-id'], 'verbose_name': 'audit record', 'verbose_name_plural': 'audit records'},
        ),
        migrations.AlterField(
            model_name='poll',
            name='expected_turnout',
            field=models.PositiveIntegerField(blank=True, help_text='Roughly how many voters you expect. The poll accepts more.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000000000)], verbose_name='expected turnout'),
        ),
        migrations.AlterField(
            model_name='poll',
            name='max_selections',
            field=models.PositiveSmallIntegerField(default=1, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(99)], verbose_name='maximum selections'),
        ),
        migrations.AlterField(
            model_name='poll',
            name='min_selections',
            field=models.PositiveSmallIntegerField(default=1, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(99)], verbose_name='minimum selections'),
        ),
        migrations.AlterField(
            model_name='poll',
            name='over_limit',
            field=models.CharField(choices=[('refuse', 'Refuse them for a moment'), ('quarantine', 'Accept and quarantine them')], default='refuse', max_length=10, verbose_name='ballots over the rate limit'),
        ),
        migrations.AlterField(
            model_name='poll',
            name='release_step',
            field=models.PositiveSmallIntegerField(default=1, help_text="While the poll is open, its results update in steps of this many ballots, so that watching the screen reveals nobody's vote. 1: with every ballot.", validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)], verbose_name='result step'),
        ),
        *quarantine_rule("deadletter", editable=False),
        *quarantine_rule("logentry"),
        *renamed(
            "installation",
            "secret_key",
            "secret_key_fingerprint",
            models.CharField(max_length=32, db_column="secret_key"),
        ),
        *renamed(
            "poll",
            "voters_by",
            "secret_key_fingerprint",
            models.CharField(
                max_length=32,
                default=polls.keys.newest_fingerprint,
                blank=True,
                editable=False,
                db_column="voters_by",
            ),
        ),
    ]
