"""`manage.py adopt_secret_key`: switch to a new SECRET_KEY when the old one is lost."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from polls import secret_key
from polls.audit_log import COMMAND, record
from polls.management.terminal import confirm
from polls.models import Poll, State


class Command(BaseCommand):
    help = (
        "Switch the database to this SECRET_KEY when the old one is lost. This invalidates all cookies, "
        "passes, invites, receipts and logins that the old key has signed. Open polls accept no ballots "
        "until they are reset, because nobody can tell who has voted. In open polls that an earlier version "
        "opened, browsers can vote again. If you still have the old key, add it to SECRET_KEY_FALLBACKS "
        "instead: then nothing is lost."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="don't ask")

    def handle(self, *_args: Any, **options: Any) -> None:
        if secret_key.secret_key_is_known():
            secret_key.check_secret_key()
            self.stdout.write("The database has this SECRET_KEY already. Nothing to do.")
            return
        stopped = secret_key.polls_with_lost_key()
        others = Poll.objects.filter(state=State.OPEN).exclude(code__in=stopped)
        codes = list(others.values_list("code", flat=True))
        if stopped:
            self.stdout.write(f"Open polls that accept no ballots until a reset: {', '.join(stopped)}.")
        if codes:
            self.stdout.write(f"Open polls in which browsers can vote again: {', '.join(codes)}.")
        if not options["yes"]:
            confirm("Receipts, invites and cookies of the old key become invalid. Continue? [y/N] ")
        secret_key.adopt_secret_key()
        record(COMMAND, "secret key adopted", open_polls=[*codes, *stopped])
        self.stdout.write("Done. Restart every process that still runs with another SECRET_KEY.")
