"""Build the documents for screens and the API: a tally's figures, and a poll's state."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from analytics.results.tallies import BALLOTS, QUARANTINED, Snapshot
from polls.methods import Method, MethodRules, get_method, with_labels
from polls.models import Poll, State
from polls.poll_document import poll_document


def document(snap: Snapshot, *, visible: bool) -> dict[str, Any]:
    """Return the tally endpoint's document. If `visible` is false, no field depends on a vote."""
    doc = {**poll_document(snap.poll), "visible": visible}
    if visible:
        doc["version"] = snap.version
        doc.update(figures(snap))
    return doc


def figures(snap: Snapshot) -> dict[str, Any]:
    """Return a tally's figures, with the winners if the poll is closed."""
    poll, counts = snap.poll, snap.counts
    method, rules = get_method(poll.method), poll.method_rules()
    ballots = counts.get(BALLOTS, 0)
    choices = [] if poll.state == State.DRAFT else [(each.number, each.label) for each in poll.choices.all()]
    shown = {"ballots": ballots, **with_labels(method.figures(rules, counts, ballots), choices)}
    if poll.state in (State.CLOSED, State.PUBLISHED):
        shown["winners"] = method.winners(rules, counts)
    if counts.get(QUARANTINED + BALLOTS):
        shown["quarantined"] = second = quarantined_figures(
            method, rules, counts, snap.reasons, withheld=snap.withheld
        )
        if "winners" in shown and not snap.withheld:
            second["winners_if_released"] = method.winners(rules, _both_tallies(counts))
    return shown


def _both_tallies(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Return the sums of both tallies, as if no ballot were in quarantine."""
    both = Counter[str]()
    for key, count in counts.items():
        both[key.removeprefix(QUARANTINED)] += count
    return both


def quarantined_figures(
    method: Method, rules: MethodRules, counts: Mapping[str, int], reasons: int, *, withheld: bool
) -> dict[str, Any]:
    """Return the second tally's figures, or only its number of ballots if the marks are `withheld`."""
    if withheld:
        return {"ballots": counts[QUARANTINED + BALLOTS], "withheld": True, "reasons": reasons}
    second = {key.removeprefix(QUARANTINED): n for key, n in counts.items() if key.startswith(QUARANTINED)}
    totals = method.totals(rules, second)
    if "choices" in totals:
        totals["choices"] = [{"number": number, **each} for number, each in sorted(totals["choices"].items())]
    return {"ballots": second[BALLOTS], **totals, "reasons": reasons}


def state_message(poll: Poll) -> dict[str, Any]:
    """Return the message about a poll's state for WebSockets and event streams."""
    fields = ("poll", "round", "epoch", "revision", "state", "opens_at", "closes_at", "closed_at")
    doc = poll_document(poll)
    return {"type": "state", **{field: doc[field] for field in fields}}
