"""Build the final result that is stored with a closed round."""

from collections.abc import Mapping
from typing import Any

from analytics.results import anonymity_threshold
from analytics.results.documents import figures, quarantined_figures, share
from analytics.results.tallies import BALLOTS, QUARANTINED, count_reasons, counted_snapshot
from polls.methods import get_method
from polls.models import Poll, Round


def final_result(poll: Poll) -> dict[str, Any]:
    """Return the result of the poll's current round, from its tally."""
    snap, method = counted_snapshot(poll), get_method(poll.method)
    votes = method.votes(poll.method_rules(), snap.counts)
    return {**figures(snap), "version": snap.version, "winners": method.winners(votes)}


def earlier_result(round_: Round, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return an earlier round's stored result with new counts. Its texts stay as they were in that round."""
    result, method = dict(round_.result or {}), get_method(round_.rules["method"])
    votes = method.votes(round_.method_rules(), counts)
    ballots = counts.get(BALLOTS, 0)
    result["ballots"], result["selections"] = ballots, sum(votes.values())
    result["winners"] = method.winners(votes)
    result["choices"] = [
        {
            **choice,
            "votes": votes.get(choice["number"], 0),
            "share": share(votes.get(choice["number"], 0), ballots),
        }
        for choice in result.get("choices", [])
    ]
    result.pop("quarantined", None)
    if counts.get(QUARANTINED + BALLOTS):
        reasons = count_reasons(round_.poll_id, round_.number)
        withheld = anonymity_threshold.withheld(round_.poll_id, round_.number, round_.release_step)
        result["quarantined"] = quarantined_figures(
            method, round_.method_rules(), counts, reasons, withheld=withheld
        )
    return result
