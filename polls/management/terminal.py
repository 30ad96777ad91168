"""What commands print of what people wrote: as it is, and never as an order to the terminal or to rich."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from rich.console import Console

from polls.models import Poll
from polls.text.plain_text import cleaned, escaped, is_visible, isolated


def console(options: dict[str, Any]) -> Console:
    """For tables and progress: a label such as "Yes [draft]" or ":fire:" is only a text."""
    return Console(no_color=options["no_color"] or None, highlight=False, markup=False, emoji=False)


def printable(text: object) -> str:
    """A text for a line or cell of ours, which it can neither turn round nor leave."""
    return isolated(escaped(str(text)))


def printable_poll(poll: Poll) -> str:
    return f"{printable(poll.question)} ({poll.code})"


def prompt(question: str) -> str:
    """What the operator types; CommandError where there is nobody to ask."""
    try:
        return input(question).strip()
    except EOFError:
        raise CommandError("Nobody answers here; run it with --yes.") from None


def confirm(question: str) -> None:
    """CommandError unless the operator says yes."""
    if prompt(question).lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.")


def clean_line(text: str, name: str) -> str:
    """The value of the argument `name`, cleaned; "" where there is nothing to see in it."""
    try:
        text = cleaned(text)
    except ValueError as error:
        raise CommandError(f"{name}: {error}") from None
    return text if is_visible(text) else ""
