"""`manage.py recount`: count a round again from the ledger, show where the tally differs, and correct it."""

import getpass
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.table import Table

from analytics.audit import recount
from analytics.audit.recount import Recount
from polls.audit_log import COMMAND
from polls.management.terminal import command_errors, confirm, console, find_poll, printable, progress_bar
from polls.models import Round

#: The exit status if the recount failed. 1 means that the tally differs.
UNKNOWN = 2


class Command(BaseCommand):
    help = (
        "Count a poll's round again from the ledger and show, choice by choice, where the tally differs. "
        "Exit status: 0 if nothing differs, 1 if something does, 2 if the recount failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", help="the poll's code")
        parser.add_argument("--round", type=int, help="an earlier round; by default the current one")
        parser.add_argument("--fix", action="store_true", help="set the tally to the count of the ledger")
        parser.add_argument("--yes", action="store_true", help="don't ask before fixing")

    def handle(self, *_args: Any, **options: Any) -> None:
        self.console = console(options)
        with command_errors(returncode=UNKNOWN):
            poll = find_poll(options["code"], returncode=UNKNOWN)
            round_ = recount.get_round(poll, options["round"])
            found = self.with_progress(round_, recount.recount)
            self.show(found)
            if not found.drifted:
                self.stdout.write("The tally matches the ledger.")
                return
            if not options["fix"]:
                raise CommandError("The tally differs from the ledger; --fix corrects it.")
            if not options["yes"]:
                confirm("Correct the tally, on all screens? [y/N] ")
            by = f"{COMMAND} {getpass.getuser()}"
            fixed = self.with_progress(round_, lambda each, advance: recount.fix(each, by, advance))
        changes = [f"{printable(row['label'])} {-row['drift']:+,}" for row in fixed.rows() if row["drift"]]
        self.stdout.write(f"Corrected: {', '.join(changes) or 'nothing was left to correct'}.")

    def with_progress(
        self, round_: Round, count: Callable[[Round, Callable[[int], None]], Recount]
    ) -> Recount:
        with progress_bar(self.console, "Counting ballots", recount.count_ballots(round_)) as advance:
            return count(round_, advance)

    def show(self, found: Recount) -> None:
        table = Table("Choice", "Tally", "Ledger", "Drift")
        for column in table.columns[1:]:
            column.justify = "right"
        for row in found.rows():
            label = printable(row["label"]) + (" (in quarantine)" if row["quarantined"] else "")
            drift = f"{row['drift']:+,}" if row["drift"] else "0"
            style = "bold red" if row["drift"] else None
            tally, ledger = ("–", "–") if row["withheld"] else (f"{row['tally']:,}", f"{row['ledger']:,}")
            table.add_row(label, tally, ledger, drift, style=style)
        self.console.print(table)
