"""Rounds that are over, with the results they had."""

from __future__ import annotations

from typing import Any

from polls.models import Poll, State
from polls.shares import decimals_for, percent

SHARE_DECIMALS = 1


def earlier(poll: Poll) -> list[dict[str, Any]]:
    """The rounds before the current one, newest first, with rows where a result was kept."""
    rounds = poll.rounds.filter(number__lt=poll.round).order_by("-number")
    return [{"round": round_, **_result(round_.result or {})} for round_ in rounds]


def _result(result: dict[str, Any]) -> dict[str, Any]:
    tied = len(result.get("winners", [])) > 1
    return {"ballots": result.get("ballots"), "rows": _rows(result), "tied": tied}


def are_linked(poll: Poll) -> bool:
    """Whether a purge is due: all rounds are over, and there is one whose ballots lead to voters."""
    over = poll.state in (State.DRAFT, State.PUBLISHED)
    return over and poll.rounds.filter(purged_at=None).exists()


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    winners, choices, ballots = result.get("winners", []), result.get("choices", []), result.get("ballots", 0)
    decimals = decimals_for([choice["votes"] for choice in choices], ballots, SHARE_DECIMALS)
    return [
        {
            "label": choice["label"],
            "votes": choice["votes"],
            "share": percent(choice["votes"], ballots, decimals),
            "won": choice["number"] in winners,
        }
        for choice in choices
    ]
