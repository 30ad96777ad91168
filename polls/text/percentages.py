"""Format shares as percentages that don't mislead. static/js/text/percentages.js has the same rules.

Shares are rounded half up. All shares of a poll get the same number of decimals. This number is large enough
to distinguish the first choice from the second, and to show each share on the right side of every majority in
MAJORITIES. A share above 0 is never shown as 0 %, and one below 100 % never as 100 %.
"""

from collections.abc import Sequence

from django.utils.formats import number_format
from django.utils.translation import gettext as _

#: Common majorities as (numerator, denominator): a half, three fifths, two thirds, three quarters.
MAJORITIES = ((1, 2), (3, 5), (2, 3), (3, 4))
NONE = "–"


def percent(votes: int, ballots: int, decimals: int) -> str:
    """Format `votes` of `ballots`: "12.4%", "<1%", ">99.9%", or a dash if there are no ballots."""
    if not ballots:
        return NONE
    units, all_units = _units(votes, ballots, decimals), 100 * 10**decimals
    if units == 0 and votes > 0:
        return "<" + _number(1, decimals)
    if units == all_units and votes < ballots:
        return ">" + _number(all_units - 1, decimals)
    return _number(units, decimals)


def decimals_for(votes: Sequence[int], ballots: int, least: int = 0) -> int:
    """Return how many decimals the shares of these choices need: `least` or more."""
    decimals = least
    while ballots and not (
        all(_keeps_majorities(each, ballots, decimals) for each in votes)
        and _tells_first_from_second(votes, ballots, decimals)
    ):
        decimals += 1
    return decimals


def _keeps_majorities(votes: int, ballots: int, decimals: int) -> bool:
    """Whether the rounded share is on the same side of each majority as the exact one."""
    units, all_units = _units(votes, ballots, decimals), 100 * 10**decimals
    for part, whole in MAJORITIES:
        exact, shown = votes * whole - ballots * part, units * whole - all_units * part
        if (exact >= 0) != (shown >= 0):
            return False
        # A half must be exceeded; the other majorities need only be reached.
        if (part, whole) == (1, 2) and (exact > 0) != (shown > 0):
            return False
    return True


def _tells_first_from_second(votes: Sequence[int], ballots: int, decimals: int) -> bool:
    first = max(votes, default=0)
    second = max((each for each in votes if each < first), default=None)
    if second is None:
        return True
    return percent(first, ballots, decimals) != percent(second, ballots, decimals)


def _units(votes: int, ballots: int, decimals: int) -> int:
    """Return the share in units of the last decimal, rounded half up, in integer arithmetic."""
    return (2 * votes * 100 * 10**decimals + ballots) // (2 * ballots)


def _number(units: int, decimals: int) -> str:
    whole, rest = divmod(units, 10**decimals)
    digits = f"{whole}.{rest:0{decimals}}" if decimals else str(whole)
    return _("%(number)s%%") % {"number": number_format(digits, use_l10n=True)}
