"""`manage.py seed_demo`: make demo polls in every state."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from analytics import demo
from polls.errors import LandslideError
from polls.management.terminal import printable


class Command(BaseCommand):
    help = "Make the missing demo polls. Existing ones keep their votes and their state."

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            for seeded in demo.seed():
                if options["verbosity"]:
                    self.stdout.write(line(seeded))
        except LandslideError as error:
            raise CommandError(f"{error.title}: {error.detail}") from None


def line(seeded: demo.Seeded) -> str:
    poll = seeded.poll
    note = "made" if seeded.made else "kept" if seeded.ours else "not ours, left alone"
    return f"{poll.code:<9} {poll.get_state_display():<10} {printable(poll.question)}  ({note})"
