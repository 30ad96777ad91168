"""Earlier rounds of a poll and their results, as pages list them."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from .models import Poll, Round, State, Visibility


def earlier(poll: Poll) -> QuerySet[Round]:
    """Return the rounds before the current one, newest first."""
    return poll.rounds.filter(number__lt=poll.round).order_by("-number")


def public(poll: Poll) -> QuerySet[Round]:
    """Return the earlier rounds whose result was published to everybody and may still be shown."""
    rounds = earlier(poll).filter(made_public_at__isnull=False)
    return rounds.none() if poll.results_visible == Visibility.STAFF else rounds


def can_be_purged(poll: Poll) -> bool:
    """Whether no round is running and the ballots of some round can still be linked to voters."""
    return poll.state in (State.DRAFT, State.PUBLISHED) and poll.rounds.filter(purged_at=None).exists()


def with_results(rounds: Iterable[Round]) -> list[dict[str, Any]]:
    """Return a dict per round: its ballots, whether there was a tie, and its result as a table."""
    return [{"round": round_, **_result(round_)} for round_ in rounds]


def _result(round_: Round) -> dict[str, Any]:
    result = round_.result or {}
    tied = len(result.get("winners", [])) > 1
    quarantined = result.get("quarantined", {}).get("ballots", 0)
    head, rows = round_.method.table(result)
    return {
        "ballots": result.get("ballots"),
        "quarantined": quarantined,
        "head": head,
        "rows": rows,
        "tied": tied,
    }
