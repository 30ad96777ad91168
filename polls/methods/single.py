"""Single choice: one mark per ballot; the choice with the most marks wins."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .contract import MethodRules, RulesError
from .plurality import Plurality


class Single(Plurality):
    name = "single"
    label = gettext_lazy("Single choice")

    def default_limits(self, count: int) -> tuple[int, int]:
        return 1, 1

    def check_rules(self, rules: MethodRules) -> None:
        if len(rules.numbers) < self.min_choices:
            raise RulesError(_("A poll needs at least two choices."), "choices")
        if (rules.min_selections, rules.max_selections) != (1, 1):
            raise RulesError(_("Single choice means exactly one selection; leave both limits at 1."))

    def has_one_mark(self, rules: MethodRules) -> bool:
        return True


METHOD = Single()
