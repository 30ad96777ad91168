"""`manage.py reset_two_factor USER`: delete the second factor of somebody who lost it."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from polls import two_factor


class Command(BaseCommand):
    help = (
        "Delete the second factor of an account. Its password alone is then enough to log in or, where a "
        "second factor is required, to set up a new one: verify who is asking. The audit log records it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="name of the account")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no account {options['user']!r}.")
        if not two_factor.remove(user):
            raise CommandError(f"{options['user']} has no second factor.")
        next_step = "sets up a new one at the next login" if two_factor.required() else "no longer needs one"
        self.stdout.write(f"Second factor deleted: {options['user']} {next_step}.")
