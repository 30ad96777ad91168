"""Change the ids of API clients from their key's prefix and hash to the prefix, also in the admin's history."""

from django.db import migrations
from django.db.models import F


def remove_hashes(apps, schema_editor):
    clients = apps.get_model("polls", "ApiClient")
    types = apps.get_model("contenttypes", "ContentType").objects.filter(app_label="polls", model="apiclient")
    entries = apps.get_model("admin", "LogEntry").objects.filter(content_type__in=types)
    for entry in entries.filter(object_id__contains="."):
        entry.object_id = entry.object_id.partition(".")[0]
        entry.save(update_fields=["object_id"])
    clients.objects.update(id=F("prefix"))


class Migration(migrations.Migration):
    dependencies = [
        ("polls", "0011_voters_by"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(remove_hashes, migrations.RunPython.noop)]
