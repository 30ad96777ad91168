"""Rating: each choice is an item that voters rate on a scale. Net promoter score is the style `nps`.

A ballot rates some or all items. An item without a rating is unanswered, not rated 0: an item's figures are
about the ballots that rate it. The result has no winner.
"""

import random
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Annotated, Any, Literal

import msgspec
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from polls.errors import InvalidSelection

from .contract import Method, MethodRules, ResultRow, ResultTable, RulesError

NPS = "nps"
#: The text of a stored selection has at most 400 characters, six of them for an item.
MAX_ITEMS = 50
#: With fewer answers, a net promoter score has no margin of error.
LEAST_FOR_MARGIN = 30
NONE = "–"


class RatingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scale` is the highest value. The lowest is 1, or 0 for the net promoter score, whose scale is 10."""

    style: Literal["numbers", "stars", "hearts", "nps"] = "numbers"
    scale: Annotated[int, msgspec.Meta(ge=2, le=10)] | None = None
    low_label: Annotated[str, msgspec.Meta(max_length=60)] = ""
    high_label: Annotated[str, msgspec.Meta(max_length=60)] = ""


class Rating(Method):
    name = "rating"
    label = gettext_lazy("Rating")
    field = "ratings"
    Marks = Annotated[dict[int, int | None], msgspec.Meta(max_length=99)]
    field_help = "The rating of each item, by its number; null or left out: not answered."
    poll_figures = {"answers": int, "base": str}
    choice_figures = {
        "answers": int,
        "distribution": list[int],
        "mean": float | None,
        "median": float | None,
        "score": int | None,
        "margin": int | None,
        "promoters": int,
        "passives": int,
        "detractors": int,
        "shares": list[int] | None,
    }
    min_choices = 1
    stylesheet = "css/methods/rating.css"
    Config = RatingConfig
    config_texts = {
        "style": (
            gettext_lazy("Style"),
            gettext_lazy("How the scale looks, or the net promoter score, 0 to 10."),
        ),
        "scale": (
            gettext_lazy("Scale"),
            gettext_lazy("The highest rating, from 2 to 10. Empty: 5, and 10 for the net promoter score."),
        ),
        "low_label": (
            gettext_lazy("Label of the lowest rating"),
            gettext_lazy("Such as “poor”. May be empty."),
        ),
        "high_label": (
            gettext_lazy("Label of the highest rating"),
            gettext_lazy("Such as “excellent”. May be empty."),
        ),
    }
    config_values = {
        "numbers": gettext_lazy("Numbers"),
        "stars": gettext_lazy("Stars"),
        "hearts": gettext_lazy("Hearts"),
        "nps": gettext_lazy("Net promoter score"),
    }
    texts = {
        "rateOne": gettext_lazy("Choose from %(low)s to %(high)s."),
        "rateAll": lambda n: ngettext("Rate it.", "Rate all %(count)s.", n),
        "rateExactly": lambda n: ngettext("Rate exactly %(count)s.", "Rate exactly %(count)s.", n),
        "rateAny": gettext_lazy("Rate one or more."),
        "rateBetween": gettext_lazy("Rate %(min)s to %(max)s."),
        "rateMore": lambda n: ngettext("Rate %(count)s more.", "Rate %(count)s more.", n),
        "rateFewer": lambda n: ngettext(
            "That is %(count)s too many: clear one.", "That is %(count)s too many: clear some.", n
        ),
        "rated": gettext_lazy("%(count)s of %(total)s rated."),
        "readyToCast": gettext_lazy("Ready to cast."),
        "clearRating": gettext_lazy("Clear the rating of %(item)s"),
        "notLikely": gettext_lazy("Not at all likely"),
        "veryLikely": gettext_lazy("Extremely likely"),
        "ratingMean": gettext_lazy("Mean %(mean)s of %(scale)s · median %(median)s"),
        "npsScore": gettext_lazy(
            "NPS %(score)s · %(promoters)s promoters, %(passives)s passives, %(detractors)s detractors"
        ),
        "ratedHighest": gettext_lazy("Rated highest: %(choices)s"),
        "ofAnswers": gettext_lazy("The figures of an item refer to the ballots that rate it."),
        "fewAnswers": gettext_lazy("Few answers: the score may still change a lot."),
        "answers": lambda n: ngettext("%(count)s answer", "%(count)s answers", n),
        "answersUnit": lambda n: ngettext("answer", "answers", n),
        "ballotsUnit": lambda n: ngettext("ballot", "ballots", n),
        "itemHead": gettext_lazy("Item"),
        "ratingHead": gettext_lazy("Rating"),
        "meanHead": gettext_lazy("Mean"),
        "medianHead": gettext_lazy("Median"),
        "scoreHead": gettext_lazy("Score"),
        "answersHead": gettext_lazy("Answers"),
        "shareHead": gettext_lazy("Share"),
    }

    def complete(self, config: RatingConfig) -> RatingConfig:
        if config.scale is not None:
            return config
        return msgspec.structs.replace(config, scale=10 if config.style == NPS else 5)

    def default_limits(self, count: int) -> tuple[int, int]:
        return 1, max(1, count)

    def check_rules(self, rules: MethodRules) -> None:
        count = len(rules.numbers)
        if not count:
            raise RulesError(_("A rating needs at least one item."), "choices")
        if count > MAX_ITEMS:
            raise RulesError(_("A rating has at most %(most)s items.") % {"most": MAX_ITEMS}, "choices")
        if rules.config.style == NPS and rules.config.scale != 10:
            raise RulesError(_("A net promoter score has the scale 10."), "config.scale")
        if not 1 <= rules.min_selections <= rules.max_selections <= count:
            raise RulesError(
                _("The limits must satisfy 1 ≤ minimum ≤ maximum ≤ number of items (%(count)s).")
                % {"count": count}
            )

    def check(self, rules: MethodRules, marks: dict[int, int | None]) -> str:
        """Return the selection, sorted by item: "1:4,3:5". An item that is null or left out isn't rated."""
        values = scale_of(rules.config)
        rated = {number: value for number, value in marks.items() if value is not None}
        for number in marks:
            if number not in rules.numbers:
                raise InvalidSelection(
                    _("There is no item %(number)s in this poll.") % {"number": number},
                    reason="unknown_choice",
                )
        for value in rated.values():
            if value not in values:
                raise InvalidSelection(
                    _("A rating is a number from %(low)s to %(high)s.")
                    % {"low": values[0], "high": values[-1]},
                    reason="off_scale",
                )
        least, most = rules.min_selections, rules.max_selections
        if len(rated) < least:
            raise InvalidSelection(
                _("Too few items are rated: at least %(least)s are needed.") % {"least": least},
                reason="too_few",
            )
        if len(rated) > most:
            raise InvalidSelection(
                _("Too many items are rated: at most %(most)s are allowed.") % {"most": most},
                reason="too_many",
            )
        return ",".join(f"{number}:{value}" for number, value in sorted(rated.items()))

    def decode(self, selection: str) -> dict[int, int | None]:
        pairs = (mark.split(":") for mark in selection.split(","))
        return {int(number): int(value) for number, value in pairs}

    def has_one_mark(self, rules: MethodRules) -> bool:
        return rules.max_selections == 1

    def keys(self, rules: MethodRules) -> list[str]:
        values = scale_of(rules.config)
        return [f"{number}:{value}" for number in sorted(rules.numbers) for value in values]

    def key_label(self, key: str, labels: Mapping[int, str]) -> str:
        number, _colon, value = key.partition(":")
        return f"{labels.get(int(number), number)}: {value}" if number.isdecimal() else key

    def cells(self, selection: str) -> dict[str, int]:
        return dict.fromkeys(selection.split(","), 1)

    def totals(self, rules: MethodRules, counts: Mapping[str, int]) -> dict[str, Any]:
        """Return for each item how many ballots rate it, and how many with each value, from the lowest."""
        values = scale_of(rules.config)
        found = {
            number: [counts.get(f"{number}:{value}", 0) for value in values]
            for number in sorted(rules.numbers)
        }
        return {
            "answers": sum(map(sum, found.values())),
            "choices": {
                number: {"answers": sum(each), "distribution": each} for number, each in found.items()
            },
        }

    def figures(self, rules: MethodRules, counts: Mapping[str, int], ballots: int) -> dict[str, Any]:
        totals = self.totals(rules, counts)
        derive = net_promoter_score if rules.config.style == NPS else average
        choices = {
            number: {**each, **derive(each["distribution"])} for number, each in totals["choices"].items()
        }
        return {**totals, "base": "answers", "choices": choices}

    def table(self, result: Mapping[str, Any]) -> ResultTable:
        choices = result.get("choices", [])
        if any("score" in choice for choice in choices):
            head = [_("Item"), _("Score"), _("Promoters"), _("Passives"), _("Detractors"), _("Answers")]
            rows = [ResultRow(each["label"], False, [*_nps_texts(each), each["answers"]]) for each in choices]
        else:
            head = [_("Item"), _("Mean"), _("Median"), _("Answers")]
            rows = [
                ResultRow(
                    each["label"], False, [_text(each["mean"], 1), _text(each["median"]), each["answers"]]
                )
                for each in choices
            ]
        return ResultTable(head, rows)

    def sample(self, rules: MethodRules, liking: Mapping[int, float], rng: random.Random) -> dict[int, int]:
        """Rate at random: an item that is liked better tends to get a higher rating."""
        values, most_liked = scale_of(rules.config), max(liking.values())
        picked = rng.sample(sorted(liking), rng.randint(rules.min_selections, rules.max_selections))
        ratings = {}
        for number in sorted(picked):
            wanted = rng.gauss(0.25 + 0.6 * liking[number] / most_liked, 0.2)
            ratings[number] = values[min(max(round(wanted * (len(values) - 1)), 0), len(values) - 1)]
        return ratings


def scale_of(config: RatingConfig) -> range:
    """Return the values that voters choose from."""
    return range(0 if config.style == NPS else 1, (config.scale or 0) + 1)


def average(distribution: Sequence[int]) -> dict[str, Any]:
    """Return the mean, rounded half up to one decimal, and the median; None without answers."""
    answers = sum(distribution)
    if not answers:
        return {"mean": None, "median": None}
    total = sum(value * count for value, count in enumerate(distribution, 1))
    middle = [_nth(distribution, (answers - 1) // 2), _nth(distribution, answers // 2)]
    # Compute with integers until the last step: a float may round the wrong way.
    return {"mean": (20 * total + answers) // (2 * answers) / 10, "median": sum(middle) / 2}


def _nth(distribution: Sequence[int], index: int) -> int:
    """Return the value at `index` (from 0) in the sorted list of all answers."""
    value = 0
    while index >= 0:
        index -= distribution[value]
        value += 1
    return value


def net_promoter_score(distribution: Sequence[int]) -> dict[str, Any]:
    """Return the score and its parts from the answers 0 to 10.

    The score is the percentage of promoters (9 and 10) minus that of detractors (0 to 6), rounded half away
    from zero. `margin` is half its 95 % confidence interval. `shares` are in percent, and add up to 100.
    """
    detractors, passives, promoters = sum(distribution[:7]), sum(distribution[7:9]), sum(distribution[9:])
    answers, lead = sum(distribution), promoters - detractors
    if not answers:
        return {"score": None, "margin": None, "shares": None}
    size = (200 * abs(lead) + answers) // (2 * answers)
    spread = answers * (promoters + detractors) - lead * lead  # a single answer's variance, times answers²
    margin = (isqrt(4 * 196 * 196 * spread // answers**3) + 1) // 2
    return {
        "score": size if lead >= 0 else -size,
        "margin": margin if answers >= LEAST_FOR_MARGIN else None,
        "promoters": promoters,
        "passives": passives,
        "detractors": detractors,
        "shares": largest_remainders([promoters, passives, detractors], answers),
    }


def largest_remainders(parts: Sequence[int], whole: int) -> list[int]:
    """Return the parts in percent, rounded so that they add up to 100."""
    shares = [100 * part // whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda index: -(100 * parts[index] % whole))
    for index in by_remainder[: 100 - sum(shares)]:
        shares[index] += 1
    return shares


def signed(score: int) -> str:
    """Format a score with its sign: "+12", "−8" with a true minus sign, "0"."""
    return f"{score:+d}".replace("-", "\u2212") if score else "0"


def _nps_texts(choice: Mapping[str, Any]) -> list[str]:
    if choice["score"] is None:
        return [NONE] * 4
    return [signed(choice["score"]), *(f"{share}%" for share in choice["shares"])]


def _text(figure: float | None, decimals: int | None = None) -> str:
    if figure is None:
        return NONE
    return str(number_format(figure, decimals if decimals else 0 if figure == int(figure) else 1))


METHOD = Rating()
