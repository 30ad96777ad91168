"""Single choice: one mark per ballot; the choice with the most marks wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .plurality import check_marks, contribution, votes, winners  # noqa: F401  (re-exported)

if TYPE_CHECKING:
    from . import MethodRules

NAME = "single"
LABEL = gettext_lazy("Single choice")
SHARE_BASE = "ballots"


def default_limits(count: int) -> tuple[int, int]:
    return 1, 1


def check_rules(rules: MethodRules) -> None:
    if len(rules.numbers) < 2:
        raise ValueError(_("A poll needs at least two choices."))
    if (rules.min_selections, rules.max_selections) != (1, 1):
        raise ValueError(_("Single choice means exactly one selection; leave both limits at 1."))


def check(rules: MethodRules, marks: list[int]) -> tuple[int, ...]:
    return check_marks(rules, marks, 1, 1)
