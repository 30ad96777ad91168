"""`manage.py check_records`: whether the log of what admins did is whole."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from polls.audit_log import verify_chain


class Command(BaseCommand):
    help = (
        "Follow the chain of digests through the records. Exit status 1 where a record was altered, put in "
        "or taken out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--known",
            default="",
            metavar="DIGEST",
            help="the digest of an earlier record, from the logs, that has to be there still: nothing else "
            "shows that some are missing at the end",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        verdict = verify_chain(options["known"].strip().lower())
        if verdict.broken:
            ids = ", ".join(map(str, verdict.broken[:20]))
            more = f" and {len(verdict.broken) - 20} more" if len(verdict.broken) > 20 else ""
            raise CommandError(f"Altered, or something is missing or was put in just before: {ids}{more}.")
        if not verdict.found:
            raise CommandError("There is no record with that digest: records are missing.")
        self.stdout.write(f"{verdict.rows} records, unbroken. The last digest: {verdict.last or '–'}")
