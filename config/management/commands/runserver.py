"""Daphne's runserver, with the worker that a process without Redis carries itself."""

from __future__ import annotations

from typing import Any

from daphne.management.commands.runserver import Command as DaphneCommand
from django.conf import settings

from config.serving.embedded import EmbeddedWorker


class Command(DaphneCommand):
    def inner_run(self, *args: Any, **options: Any) -> None:
        """Runs in the autoreloader's child only; the parent just watches files."""
        if not settings.EMBEDDED:
            super().inner_run(*args, **options)
            return
        with EmbeddedWorker():
            super().inner_run(*args, **options)
