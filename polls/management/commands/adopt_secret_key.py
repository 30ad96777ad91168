"""`manage.py adopt_secret_key`: go on with another SECRET_KEY where the old one is lost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from polls import secret_key
from polls.audit_log import COMMAND, record
from polls.management.terminal import confirm
from polls.models import Poll, State


class Command(BaseCommand):
    help = (
        "Make this SECRET_KEY the one that the database's voters are known by, where the old one is lost. "
        "Cookies, passes, invites, receipts and log-ins that the old one has signed are worth nothing then. "
        "A poll that is open takes no more ballots until it is reset, since nobody can tell any more who has "
        "voted; one that an earlier version opened takes them, and browsers can vote again. Where you still "
        "have the old key, name it in SECRET_KEY_FALLBACKS instead: then nothing is lost."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="don't ask")

    def handle(self, *_args: Any, **options: Any) -> None:
        if secret_key.secret_key_is_known():
            secret_key.check_secret_key()
            self.stdout.write("The database's voters are known by this SECRET_KEY already. Nothing to do.")
            return
        stopped = secret_key.polls_with_lost_key()
        again = Poll.objects.filter(state=State.OPEN).exclude(code__in=stopped)
        codes = list(again.values_list("code", flat=True))
        if stopped:
            self.stdout.write(f"Open polls that take no more ballots until a reset: {', '.join(stopped)}.")
        if codes:
            self.stdout.write(f"Open polls in which browsers can vote again: {', '.join(codes)}.")
        if not options["yes"]:
            confirm("Receipts, invites and cookies of the old key end. Go on? [y/N] ")
        secret_key.adopt_secret_key()
        record(COMMAND, "secret key adopted", open_polls=[*codes, *stopped])
        self.stdout.write("Done. Restart every process that still runs with another SECRET_KEY.")
