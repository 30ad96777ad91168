"""`manage.py check_records`: verify the hash chain of the audit log."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from polls.audit_log import verify_chain


class Command(BaseCommand):
    help = (
        "Verify the audit log's chain of digests. Exits with status 1 if a record was changed, inserted or "
        "removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--known",
            default="",
            metavar="DIGEST",
            help="a record's digest from the server's logs, which must still be in the chain: nothing else "
            "shows that records are missing at the end",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        report = verify_chain(options["known"].strip().lower())
        if report.broken:
            ids = ", ".join(map(str, report.broken[:20]))
            more = f" and {len(report.broken) - 20} more" if len(report.broken) > 20 else ""
            raise CommandError(
                f"Records that were changed, or follow an inserted or removed record: {ids}{more}."
            )
        if not report.found:
            raise CommandError("There is no record with that digest: records are missing.")
        self.stdout.write(f"{report.rows} records, unbroken. The last digest: {report.last or '–'}")
