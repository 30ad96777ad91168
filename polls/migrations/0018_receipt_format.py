from django.db import migrations, models


class Migration(migrations.Migration):
    """Polls that exist already keep the format of the receipts that their voters have."""

    dependencies = [
        ('polls', '0017_names'),
    ]

    operations = [
        migrations.AddField(
            model_name='poll',
            name='receipt_format',
            field=models.PositiveSmallIntegerField(default=1, editable=False),
        ),
        migrations.AlterField(
            model_name='poll',
            name='receipt_format',
            field=models.PositiveSmallIntegerField(default=2, editable=False),
        ),
    ]
