"""Input and output of commands: texts that people wrote never control the terminal or rich's markup."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from rich.console import Console

from polls.models import Poll
from polls.text.plain_text import cleaned, escaped, is_visible, isolated


def console(options: dict[str, Any]) -> Console:
    """Return a console for tables and progress that takes "[draft]" and ":fire:" in labels literally."""
    return Console(no_color=options["no_color"] or None, highlight=False, markup=False, emoji=False)


def printable(text: object) -> str:
    """Make a text safe to print: escaped, and isolated so that it can't reorder the line around it."""
    return isolated(escaped(str(text)))


def printable_poll(poll: Poll) -> str:
    return f"{printable(poll.question)} ({poll.code})"


def prompt(question: str) -> str:
    """Return what the operator types; raise CommandError if there is no input."""
    try:
        return input(question).strip()
    except EOFError:
        raise CommandError("Nobody answers here; run it with --yes.") from None


def confirm(question: str) -> None:
    """Raise CommandError unless the operator answers yes."""
    if prompt(question).lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.")


def clean_line(text: str, name: str) -> str:
    """Clean the value of the argument `name`; "" if nothing in it is visible."""
    try:
        text = cleaned(text)
    except ValueError as error:
        raise CommandError(f"{name}: {error}") from None
    return text if is_visible(text) else ""
