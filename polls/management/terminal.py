"""Input and output of commands. Control characters and markup in people's texts have no effect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from polls.errors import LandslideError
from polls.models import Poll, canonical_code
from polls.text.plain_text import cleaned, escaped, is_visible, isolated
from polls.votelog import STORE_ERRORS


def console(options: dict[str, Any]) -> Console:
    """Return a console for tables and progress that prints "[draft]" and ":fire:" in labels literally."""
    return Console(no_color=options["no_color"] or None, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar(screen: Console, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, and yield a function that advances it by a number."""
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen) as progress:
        task = progress.add_task("", total=max(total, 1))
        yield lambda count: progress.advance(task, count)


@contextmanager
def command_errors(returncode: int = 1) -> Iterator[None]:
    """Turn our own errors, and those of a store that doesn't answer, into a CommandError."""
    try:
        yield
    except LandslideError as error:
        raise CommandError(error.detail, returncode=returncode) from None
    except STORE_ERRORS as error:
        text = f"The vote log or the database doesn't answer: {error}"
        raise CommandError(text, returncode=returncode) from None


def find_poll(code: str, *, returncode: int = 1) -> Poll:
    """Return the poll with the code that the operator typed."""
    poll = Poll.objects.filter(code=canonical_code(code)).first()
    if poll is None:
        raise CommandError(f"There is no poll {printable(code)}.", returncode=returncode)
    return poll


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
        raise CommandError("There is nobody to ask. Run the command with --yes.") from None


def confirm(question: str) -> None:
    """Raise CommandError unless the operator answers yes."""
    if prompt(question).lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.")


def clean_line(text: str, name: str) -> str:
    """Clean the value of the argument `name`. Return "" if nothing in it is visible."""
    try:
        text = cleaned(text)
    except ValueError as error:
        raise CommandError(f"{name}: {error}") from None
    return text if is_visible(text) else ""
