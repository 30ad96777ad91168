"""Helpers for the tests of scripts."""

from collections.abc import Callable
from typing import Any

#: run("text/percentages.js", "({ rounded }, value) => …", value): call a function with a module of static/js.
Run = Callable[..., Any]


def tally(votes: list[int], ballots: int | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"number": n, "label": f"Choice {n}", "votes": each} for n, each in enumerate(votes, 1)]
    ballots = sum(votes) if ballots is None else ballots
    method = "multiple" if more.get("max_selections", 1) > 1 else "single"
    facts = {
        "method": method,
        "state": "open",
        "visible": True,
        "max_selections": 1,
        "selections": sum(votes),
    }
    return {**facts, "ballots": ballots, "choices": choices, **more}
