"""Add `voters_by`. It is empty for existing polls, which keep their voter_keys."""

import polls.keys
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('polls', '0010_installation'),
    ]

    operations = [
        migrations.AddField(
            model_name='poll',
            name='voters_by',
            field=models.CharField(blank=True, default='', editable=False, max_length=32),
        ),
        migrations.AlterField(
            model_name='poll',
            name='voters_by',
            field=models.CharField(blank=True, default=polls.keys.newest_fingerprint, editable=False, max_length=32),
        ),
    ]
