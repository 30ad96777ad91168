"""Multiple choice (approval voting): each mark is one vote for its choice.

A ballot with three marks is one ballot and three votes. Shares are parts of the ballots, that is of the
voters. So they may add up to more than 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .plurality import check_marks, contribution, votes, winners  # noqa: F401  (re-exported)

if TYPE_CHECKING:
    from . import MethodRules

NAME = "multiple"
LABEL = gettext_lazy("Multiple choice")
SHARE_BASE = "ballots"


def default_limits(count: int) -> tuple[int, int]:
    return 1, max(1, count)


def check_rules(rules: MethodRules) -> None:
    if len(rules.numbers) < 2:
        raise ValueError(_("A poll needs at least two choices."))
    if not 1 <= rules.min_selections <= rules.max_selections <= len(rules.numbers):
        raise ValueError(
            _("The limits must satisfy 1 ≤ minimum ≤ maximum ≤ number of choices (%(count)s).")
            % {"count": len(rules.numbers)}
        )


def check(rules: MethodRules, marks: list[int]) -> tuple[int, ...]:
    return check_marks(rules, marks, rules.min_selections, rules.max_selections)
