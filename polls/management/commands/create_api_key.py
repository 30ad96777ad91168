"""`manage.py create_api_key NAME --scope …`: a key for a third party, shown once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from polls.audit_log import COMMAND, record
from polls.management.terminal import clean_line, printable
from polls.models import ApiClient

SCOPES = [str(scope.value) for scope in ApiClient.Scope]
NAME_LENGTH = ApiClient._meta.get_field("name").max_length or 50


class Command(BaseCommand):
    help = "Make an API key. The key is the last line printed, alone, and is not stored: keep it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="whose key it is, as the admin lists it")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="extend",
            nargs="+",
            default=[],
            metavar="SCOPE",
            help=f"what the key may do, one or more of: {', '.join(SCOPES)}",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        name, scopes = clean_line(options["name"], "NAME"), parse_scopes(options["scopes"])
        if not 0 < len(name) <= NAME_LENGTH:
            raise CommandError(f"The name takes 1 to {NAME_LENGTH} characters.")
        with transaction.atomic():
            client, key = ApiClient.objects.create_key(name=name, scopes=scopes)
            record(COMMAND, "API client made", client=f"{client.prefix} {name}", scopes=scopes)
        self.stdout.write(f"A key for {printable(name)}, which may: {', '.join(scopes)}.")
        self.stdout.write("It can't be shown again; revoke it in the admin under API clients.")
        self.stdout.write("Send it as a header:  Authorization: Api-Key <key>")
        self.stdout.write("")
        self.stdout.write(key)


def parse_scopes(words: Sequence[str]) -> list[str]:
    """The scopes named, each once, in the order in which they are declared; commas may part them too."""
    named = {scope for word in words for scope in word.split(",") if scope}
    if unknown := sorted(named - set(SCOPES)):
        raise CommandError(f"There is no scope {', '.join(unknown)}. Scopes: {', '.join(SCOPES)}.")
    if not named:
        raise CommandError(
            f"A key that may do nothing is of no use: add --scope. Scopes: {', '.join(SCOPES)}."
        )
    return [scope for scope in SCOPES if scope in named]
