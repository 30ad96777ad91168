"""`manage.py create_api_key NAME --scope …`: create an API key for a third party and print it once."""

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
    help = "Create an API key. The key is the last line of the output and is not stored: keep it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the client's name, as the admin lists it")
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
        self.stdout.write(f"A key for {printable(name)}, with these scopes: {', '.join(scopes)}.")
        self.stdout.write("It can't be shown again; revoke it in the admin under API clients.")
        self.stdout.write("Send it as a header:  Authorization: Api-Key <key>")
        self.stdout.write("")
        self.stdout.write(key)


def parse_scopes(words: Sequence[str]) -> list[str]:
    """Return each named scope once, in the order of their declaration. Commas may separate scopes too."""
    named = {scope for word in words for scope in word.split(",") if scope}
    if unknown := sorted(named - set(SCOPES)):
        raise CommandError(f"There is no scope {', '.join(unknown)}. Scopes: {', '.join(SCOPES)}.")
    if not named:
        raise CommandError(f"A key needs a scope: add --scope. Scopes: {', '.join(SCOPES)}.")
    return [scope for scope in SCOPES if scope in named]
