"""`manage.py purge`: destroy for good what links the counted ballots of a poll to its voters."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analytics.audit import purge
from polls.audit_log import COMMAND
from polls.management.terminal import command_errors, console, find_poll, printable_poll, progress_bar, prompt
from polls.models import Poll, canonical_code


class Command(BaseCommand):
    help = (
        "Destroy, for good, what links the counted ballots of a poll to its voters. The count and the audit "
        "bundle stay; receipts can't be looked up any more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", help="the poll's code")
        parser.add_argument("--round", type=int, help="only this round; by default all finished rounds")
        parser.add_argument("--yes", action="store_true", help="don't ask")

    def handle(self, *_args: Any, **options: Any) -> None:
        with command_errors():
            poll = find_poll(options["code"])
            rounds = purge.purgeable(poll, options["round"])
            ballots = purge.count_ballots(rounds)
            if not options["yes"]:
                self.ask(poll, [round_.number for round_ in rounds], ballots)
            with progress_bar(console(options), "Unlinking ballots", ballots) as advance:
                purge.purge(poll.pk, f"{COMMAND} {getpass.getuser()}", options["round"], advance)
        self.stdout.write(
            "Done: these ballots can't be linked to voters any more, except from older backups. "
            "docs/audit.md says what to do about those, and about the space that the old rows take."
        )

    def ask(self, poll: Poll, numbers: list[int], ballots: int) -> None:
        self.stdout.write(
            f"{printable_poll(poll)}: round {', '.join(map(str, numbers))}, {ballots:,} counted ballots."
        )
        self.stdout.write(
            "Afterwards no receipt can be looked up, and a voter who returns counts as a new one. "
            "This can't be undone."
        )
        if canonical_code(prompt(f"Type the poll's code, {poll.code}, to go on: ")) != poll.code:
            raise CommandError("Nothing was changed.")
