"""Multiple choice (approval voting): each mark is one vote for its choice.

A ballot with three marks is one ballot and three votes. A choice's share is the part of the ballots that mark
it, so shares may add up to more than 1.
"""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .contract import MethodRules, RulesError
from .plurality import Plurality


class Multiple(Plurality):
    name = "multiple"
    label = gettext_lazy("Multiple choice")

    def default_limits(self, count: int) -> tuple[int, int]:
        return 1, max(1, count)

    def check_rules(self, rules: MethodRules) -> None:
        if len(rules.numbers) < self.min_choices:
            raise RulesError(_("A poll needs at least two choices."), "choices")
        if not 1 <= rules.min_selections <= rules.max_selections <= len(rules.numbers):
            raise RulesError(
                _("The limits must satisfy 1 ≤ minimum ≤ maximum ≤ number of choices (%(count)s).")
                % {"count": len(rules.numbers)}
            )


METHOD = Multiple()
