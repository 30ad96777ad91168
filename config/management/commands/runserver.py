"""Daphne's `runserver`, with the embedded worker if there is no Redis."""

from typing import Any

from daphne.management.commands.runserver import Command as DaphneCommand
from django.conf import settings

from config.serving.embedded import EmbeddedWorker


class Command(DaphneCommand):
    def inner_run(self, *args: Any, **options: Any) -> None:
        """Serve. The autoreloader calls this only in its child process."""
        if not settings.EMBEDDED:
            super().inner_run(*args, **options)
            return
        with EmbeddedWorker():
            super().inner_run(*args, **options)
