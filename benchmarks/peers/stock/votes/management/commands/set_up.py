import uuid
from pathlib import Path

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.core.signing import get_cookie_signer

from votes.models import Choice, Poll


class Command(BaseCommand):
    help = "Make the tables, and polls with choices; print their ids. Or mint voters' cookies into a file."

    def add_arguments(self, parser):
        parser.add_argument("--polls", type=int, default=0)
        parser.add_argument("--choices", type=int, default=5)
        parser.add_argument("--voters", type=int, default=0)
        parser.add_argument("--file", default="")

    def handle(self, *_args, **options):
        if options["polls"]:
            call_command("migrate", run_syncdb=True, verbosity=0)
        for _ in range(options["polls"]):
            poll = Poll.objects.create(question="Which one?")
            for number in range(options["choices"]):
                Choice.objects.create(poll=poll, label=f"Choice {number + 1}")
            self.stdout.write(
                f"{poll.pk} {' '.join(str(pk) for pk in poll.choices.values_list('pk', flat=True))}"
            )
        if options["voters"]:
            sign = get_cookie_signer(salt="voter").sign
            with Path(options["file"]).open("w") as file:
                file.writelines(f"{sign(str(uuid.uuid4()))}\n" for _ in range(options["voters"]))
