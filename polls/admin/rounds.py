"""Rounds that are over, with the results they had."""

from __future__ import annotations

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from polls.models import Poll


def earlier(poll: Poll) -> list[dict[str, Any]]:
    """The rounds before the current one, newest first, with rows where a result was kept."""
    return [
        {"round": round_, "ballots": (round_.result or {}).get("ballots"), "rows": _rows(round_.result or {})}
        for round_ in poll.rounds.filter(number__lt=poll.round).order_by("-number")
    ]


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    winners = result.get("winners", [])
    return [
        {
            "label": choice["label"],
            "votes": choice["votes"],
            "share": _percent(choice["share"]),
            "won": choice["number"] in winners,
        }
        for choice in result.get("choices", [])
    ]


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return _("%(number)s%%") % {"number": number_format(round(share * 100, 1), 1)}
