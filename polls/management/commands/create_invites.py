"""`manage.py create_invites CODE --count N`: create a batch of invites and write their links as CSV."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from polls.audit_log import COMMAND
from polls.management.terminal import clean_line, command_errors, find_poll, printable_poll
from polls.voters import invites

LABEL_LENGTH = 100


class Command(BaseCommand):
    help = (
        "Create invites for a poll by invitation and write their links as CSV, to standard output or to a new"
        " file that only you can read. Whoever has a link can vote with it, once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="the poll's code")
        parser.add_argument("--count", type=int, required=True, help="how many, up to a million")
        parser.add_argument("--label", default="", help="who they are for, as the admin lists them")
        parser.add_argument("--out", type=Path, help="the file to write, which must not exist")
        parser.add_argument(
            "--site",
            default=default_site(),
            help="scheme and host that voters open, such as https://vote.example.org (default: %(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        count, label, out = options["count"], clean_line(options["label"], "--label"), options["out"]
        if not 1 <= count <= invites.MAX_COUNT:
            raise CommandError(f"--count takes 1 to {invites.MAX_COUNT}.")
        if len(label) > LABEL_LENGTH:
            raise CommandError(f"The label takes at most {LABEL_LENGTH} characters.")
        parts = urlsplit(options["site"])
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
            raise CommandError("--site takes a scheme and a host, such as https://vote.example.org.")
        poll = find_poll(options["code"])
        with create_private_file(out) if out else nullcontext(self.stdout) as file:
            with command_errors():
                batch = invites.make_batch(poll.pk, count, label=label, by=COMMAND)
            for piece in invites.csv_chunks(batch, f"{parts.scheme}://{parts.netloc}"):
                file.write(piece)
        print(f"Batch {batch.pk}: {count} invites to {printable_poll(poll)}.", file=sys.stderr)


def create_private_file(path: Path) -> TextIO:
    """Create a file that only its owner can read."""
    try:
        path.touch(mode=0o600, exist_ok=False)
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None


def default_site() -> str:
    """Return scheme and host of this server according to the settings."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL)
    host = next((name for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))), "localhost")
    return f"https://{host}" if settings.HTTPS else f"http://{host}:{settings.PORT}"
