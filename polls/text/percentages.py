"""Shares as people read them, from the counts; static/js/text/percentages.js has the rule for live pages.

A share is rounded half up. It gets more decimals, all of its poll alike, until what is shown says nothing
that isn't so: none looks as if it had reached a majority of MAJORITIES that it missed, or the reverse,
and the first is told from the second. What isn't nothing is never 0 %, nor what isn't all 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.formats import number_format
from django.utils.translation import gettext as _

#: What rules ask for, as (numerator, denominator): a half, three fifths, two thirds, three quarters.
MAJORITIES = ((1, 2), (3, 5), (2, 3), (3, 4))
NONE = "–"


def percent(votes: int, ballots: int, decimals: int) -> str:
    """`votes` of `ballots` with so many decimals: "12.4%", "<1%", ">99.9%", or a dash without ballots."""
    if not ballots:
        return NONE
    units, all_units = _units(votes, ballots, decimals), 100 * 10**decimals
    if units == 0 and votes > 0:
        return "<" + _number(1, decimals)
    if units == all_units and votes < ballots:
        return ">" + _number(all_units - 1, decimals)
    return _number(units, decimals)


def decimals_for(votes: Sequence[int], ballots: int, least: int = 0) -> int:
    """How many decimals the shares of these choices need, `least` or more."""
    decimals = least
    while ballots and not _is_fair(votes, ballots, decimals):
        decimals += 1
    return decimals


def _is_fair(votes: Sequence[int], ballots: int, decimals: int) -> bool:
    return all(_keeps_majorities(each, ballots, decimals) for each in votes) and _tells_first_from_second(
        votes, ballots, decimals
    )


def _keeps_majorities(votes: int, ballots: int, decimals: int) -> bool:
    """Whether the rounded share is on the side of each majority that the exact one is on."""
    units, all_units = _units(votes, ballots, decimals), 100 * 10**decimals
    for part, whole in MAJORITIES:
        exact, shown = votes * whole - ballots * part, units * whole - all_units * part
        if (exact >= 0) != (shown >= 0):
            return False
        # More than a half is a majority, exactly a half is none. Of the others, reaching them is what counts.
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
    """The share in units of the last decimal, rounded half up, in whole numbers only."""
    return (2 * votes * 100 * 10**decimals + ballots) // (2 * ballots)


def _number(units: int, decimals: int) -> str:
    whole, rest = divmod(units, 10**decimals)
    digits = f"{whole}.{rest:0{decimals}}" if decimals else str(whole)
    return _("%(number)s%%") % {"number": number_format(digits, use_l10n=True)}
