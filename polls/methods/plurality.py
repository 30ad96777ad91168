"""The base class of methods whose ballots mark choices: each mark is one vote."""

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from polls.errors import InvalidSelection
from polls.text.percentages import decimals_for, percent

from .contract import Method, MethodRules, ResultRow, ResultTable

_SHARE_DECIMALS = 1


def encode(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


class Plurality(Method):
    field = "selections"
    Marks = Annotated[tuple[int, ...], msgspec.Meta(max_length=99)]
    field_help = "The numbers of the selected choices."
    poll_figures = {"selections": int, "base": str}
    choice_figures = {"votes": int, "share": float | None}
    texts = {
        "winnerWithThem": gettext_lazy("If they were released, %(choices)s would win."),
        "tieWithThem": gettext_lazy("If they were released, %(choices)s would tie."),
        "tie": gettext_lazy("Tie: %(choices)s"),
        "voters": lambda n: ngettext("%(count)s voter", "%(count)s voters", n),
        "selections": lambda n: ngettext("%(count)s selection", "%(count)s selections", n),
        "shareOfVoters": gettext_lazy("Share of voters; several choices allowed."),
        "choiceHead": gettext_lazy("Choice"),
        "votesHead": gettext_lazy("Votes"),
        "shareHead": gettext_lazy("Share"),
        "announcement": gettext_lazy("%(choices)s leads with %(share)s. %(total)s."),
        "announcementTie": gettext_lazy("%(choices)s are tied at %(share)s each. %(total)s."),
        "chooseOne": gettext_lazy("Choose one."),
        "chooseExactly": lambda n: ngettext("Choose exactly %(count)s.", "Choose exactly %(count)s.", n),
        "chooseUpTo": lambda n: ngettext("Choose up to %(count)s.", "Choose up to %(count)s.", n),
        "chooseAtLeast": lambda n: ngettext("Choose at least %(count)s.", "Choose at least %(count)s.", n),
        "chooseBetween": gettext_lazy("Choose %(min)s to %(max)s."),
        "chosen": lambda n: ngettext("%(count)s chosen.", "%(count)s chosen.", n),
        "takeAway": lambda n: ngettext(
            "That is %(count)s too many: remove one.", "That is %(count)s too many: remove some.", n
        ),
        "chooseMore": lambda n: ngettext("Choose %(count)s more.", "Choose %(count)s more.", n),
        "ready": gettext_lazy("Ready to cast."),
        "ballotsWord": lambda n: ngettext("ballot", "ballots", n),
        "votersWord": lambda n: ngettext("voter", "voters", n),
        "selectionsWord": lambda n: ngettext("selection", "selections", n),
    }

    def check(self, rules: MethodRules, marks: tuple[int, ...]) -> str:
        """Return the selection, sorted. Marks must be different choices, as many as the limits allow."""
        if len(set(marks)) != len(marks):
            raise InvalidSelection(_("A choice is selected twice."), reason="duplicate_choice")
        for number in marks:
            if number not in rules.numbers:
                raise InvalidSelection(
                    _("There is no choice %(number)s in this poll.") % {"number": number},
                    reason="unknown_choice",
                )
        if len(marks) < rules.min_selections:
            raise InvalidSelection(
                _("Too few choices are selected: at least %(least)s are needed.")
                % {"least": rules.min_selections},
                reason="too_few",
            )
        if len(marks) > rules.max_selections:
            raise InvalidSelection(
                _("Too many choices are selected: at most %(most)s are allowed.")
                % {"most": rules.max_selections},
                reason="too_many",
            )
        return encode(tuple(sorted(marks)))

    def decode(self, selection: str) -> tuple[int, ...]:
        return tuple(map(int, selection.split(",")))

    def keys(self, rules: MethodRules) -> list[str]:
        return [str(number) for number in sorted(rules.numbers)]

    def key_label(self, key: str, labels: Mapping[int, str]) -> str:
        return labels.get(int(key), key) if key.isdecimal() else key

    def cells(self, selection: str) -> dict[str, int]:
        return dict.fromkeys(selection.split(","), 1)

    def totals(self, rules: MethodRules, counts: Mapping[str, int]) -> dict[str, Any]:
        votes = self.votes(rules, counts)
        return {
            "selections": sum(votes.values()),
            "choices": {number: {"votes": count} for number, count in votes.items()},
        }

    def figures(self, rules: MethodRules, counts: Mapping[str, int], ballots: int) -> dict[str, Any]:
        """Return each choice's votes, and its share: the part of the ballots that mark it."""
        votes = self.votes(rules, counts)
        return {
            "selections": sum(votes.values()),
            "base": "ballots",
            "choices": {
                number: {"votes": count, "share": round(count / ballots, 4) if ballots else None}
                for number, count in votes.items()
            },
        }

    def votes(self, rules: MethodRules, counts: Mapping[str, int]) -> dict[int, int]:
        return {number: counts.get(str(number), 0) for number in sorted(rules.numbers)}

    def winners(self, rules: MethodRules, counts: Mapping[str, int]) -> list[int]:
        """Return the choices with the most votes."""
        votes = self.votes(rules, counts)
        most = max(votes.values(), default=0)
        return [number for number, count in votes.items() if count == most] if most else []

    def table(self, result: Mapping[str, Any]) -> ResultTable:
        winners, choices, ballots = (
            result.get("winners", []),
            result.get("choices", []),
            result.get("ballots", 0),
        )
        decimals = decimals_for([choice["votes"] for choice in choices], ballots, _SHARE_DECIMALS)
        rows = [
            ResultRow(
                choice["label"],
                choice["number"] in winners,
                [choice["votes"], percent(choice["votes"], ballots, decimals)],
            )
            for choice in choices
        ]
        return ResultTable([_("Choice"), _("Votes"), _("Share")], rows)

    def sample(self, rules: MethodRules, liking: Mapping[int, float], rng: random.Random) -> list[int]:
        weights, picked = dict(liking), []
        for _mark in range(rng.randint(rules.min_selections, min(rules.max_selections, len(weights)))):
            number = rng.choices(list(weights), list(weights.values()))[0]
            del weights[number]
            picked.append(number)
        return sorted(picked)
