"""Functions shared by the methods that count marks per choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from polls.errors import InvalidSelection

if TYPE_CHECKING:
    from . import MethodRules


def check_marks(rules: MethodRules, marks: list[int], least: int, most: int) -> tuple[int, ...]:
    """Return sorted `marks`; raise InvalidSelection unless they are `least` to `most` distinct choices."""
    if len(set(marks)) != len(marks):
        raise InvalidSelection(_("A choice is selected twice."), reason="duplicate_choice")
    for number in marks:
        if number not in rules.numbers:
            raise InvalidSelection(
                _("There is no choice %(number)s in this poll.") % {"number": number}, reason="unknown_choice"
            )
    if len(marks) < least:
        raise InvalidSelection(
            _("Too few choices are selected: at least %(least)s are needed.") % {"least": least},
            reason="too_few",
        )
    if len(marks) > most:
        raise InvalidSelection(
            _("Too many choices are selected: at most %(most)s are allowed.") % {"most": most},
            reason="too_many",
        )
    return tuple(sorted(marks))


def contribution(selection: tuple[int, ...]) -> Iterable[str]:
    return map(str, selection)


def votes(rules: MethodRules, counts: Mapping[str, int]) -> dict[int, int]:
    return {number: counts.get(str(number), 0) for number in sorted(rules.numbers)}


def winners(votes: Mapping[int, int]) -> list[int]:
    most = max(votes.values(), default=0)
    return [number for number, count in sorted(votes.items()) if count == most] if most else []
