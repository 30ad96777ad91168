"""`manage.py reset_two_factor USER`: let somebody in again who has lost phone and recovery codes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from polls import two_factor


class Command(BaseCommand):
    help = (
        "Forget the second factor of an account. From then on its password alone lets in, or where a second "
        "factor is required, lets set up a new one: make sure who is asking. It is recorded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="name of the account")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no account {options['user']!r}.")
        if not two_factor.remove(user):
            raise CommandError(f"{options['user']} has no second factor.")
        next_step = "sets up a new one at the next log-in" if two_factor.required() else "needs it no more"
        self.stdout.write(f"The second factor of {options['user']} is gone: {options['user']} {next_step}.")
