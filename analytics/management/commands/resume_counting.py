"""`manage.py resume_counting CODE`: count the held ballots of a halted poll."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analytics.counting import held_ballots, resuming
from analytics.models import Halt
from polls.audit_log import COMMAND
from polls.management.terminal import command_errors, console, find_poll, printable, progress_bar

_LONG = 10 * 365 * 86_400.0


class Command(BaseCommand):
    help = (
        "Count the held ballots of a poll whose counting halted because most of its ballots failed. Repair "
        "the cause first: if most ballots fail again, counting halts again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE")
        parser.add_argument(
            "--dead-letters",
            action="store_true",
            help="make dead letters of the ballots that fail, even if most of them do",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        poll = find_poll(options["code"])
        ballots = held_ballots.count_ballots(poll.pk)
        with command_errors(), progress_bar(console(options), "Counting", ballots) as advance:
            done = resuming.resume(
                poll, COMMAND, let_fail=options["dead_letters"], seconds=_LONG, progress=advance
            )
        if not done:
            reason = Halt.objects.filter(poll_id=poll.pk).values_list("reason", flat=True).first()
            raise CommandError(
                f"Counting halted again: most of the held ballots still fail, {printable(reason)}."
            )
        self.stdout.write(f"{ballots} held ballots are counted. Counting of poll {poll.code} goes on.")
