"""Build the final result that is stored with a closed round."""

from collections.abc import Mapping
from typing import Any

from analytics.results import anonymity_threshold
from analytics.results.documents import figures, quarantined_figures
from analytics.results.tallies import BALLOTS, QUARANTINED, count_reasons, counted_snapshot
from polls.methods import get_method, with_labels
from polls.models import Poll, Round


def final_result(poll: Poll) -> dict[str, Any]:
    """Return the result of the poll's current round, from its tally."""
    snap = counted_snapshot(poll)
    winners = get_method(poll.method).winners(poll.method_rules(), snap.counts)
    return {**figures(snap), "version": snap.version, "winners": winners}


def earlier_result(round_: Round, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return an earlier round's stored result with new counts. The result keeps the texts of that round."""
    stored, method, rules = round_.result or {}, round_.method, round_.method_rules()
    ballots = counts.get(BALLOTS, 0)
    choices = [(choice["number"], choice["label"]) for choice in stored.get("choices", [])]
    figures = with_labels(method.figures(rules, counts, ballots), choices)
    result = {**stored, "ballots": ballots, **figures, "winners": method.winners(rules, counts)}
    result.pop("quarantined", None)
    if counts.get(QUARANTINED + BALLOTS):
        reasons = count_reasons(round_.poll_id, round_.number)
        withheld = anonymity_threshold.withheld(round_.poll_id, round_.number, round_.release_step)
        result["quarantined"] = quarantined_figures(method, rules, counts, reasons, withheld=withheld)
    return result
