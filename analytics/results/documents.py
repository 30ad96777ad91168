"""Build the documents for screens and the API: a tally's figures, and a poll's state."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from analytics.results.tallies import BALLOTS, QUARANTINED, Snapshot
from polls.methods import Method, MethodRules, get_method
from polls.models import Poll, State
from polls.poll_document import poll_document


def document(snap: Snapshot, *, visible: bool) -> dict[str, Any]:
    """Return the tally endpoint's document. Unless `visible`, nothing in it depends on a vote."""
    doc = {**poll_document(snap.poll), "visible": visible}
    if visible:
        doc["version"] = snap.version
        doc.update(figures(snap))
    return doc


def figures(snap: Snapshot) -> dict[str, Any]:
    """Return a tally's figures, with the winners if the poll is closed."""
    poll = snap.poll
    method = get_method(poll.method)
    ballots = snap.counts.get(BALLOTS, 0)
    draft = poll.state == State.DRAFT
    votes = {} if draft else method.votes(poll.method_rules(), snap.counts)
    shown: dict[str, Any] = {
        "ballots": ballots,
        "selections": sum(votes.values()),
        "base": method.SHARE_BASE,
        "choices": [
            {
                "number": choice.number,
                "label": choice.label,
                "votes": votes[choice.number],
                "share": share(votes[choice.number], ballots),
            }
            for choice in poll.choices.all()
            if not draft
        ],
    }
    if poll.state in (State.CLOSED, State.PUBLISHED):
        shown["winners"] = method.winners(votes)
    if snap.counts.get(QUARANTINED + BALLOTS):
        shown["quarantined"] = quarantined = quarantined_figures(
            method, poll.method_rules(), snap.counts, snap.reasons, withheld=snap.withheld
        )
        if "winners" in shown and "choices" in quarantined:
            quarantined["winners_if_released"] = method.winners(_sum_votes(votes, quarantined["choices"]))
    return shown


def share(votes: int, ballots: int) -> float | None:
    """Return the share of voters who marked a choice, or None without ballots."""
    return round(votes / ballots, 4) if ballots else None


def _sum_votes(votes: Mapping[int, int], more: Iterable[Mapping[str, int]]) -> dict[int, int]:
    return dict(Counter(votes) + Counter({choice["number"]: choice["votes"] for choice in more}))


def quarantined_figures(
    method: Method, rules: MethodRules, counts: Mapping[str, int], reasons: int, *, withheld: bool
) -> dict[str, Any]:
    """Return the second tally's figures, or only its number of ballots if the marks are `withheld`."""
    if withheld:
        return {"ballots": counts[QUARANTINED + BALLOTS], "withheld": True, "reasons": reasons}
    quarantined = {
        key.removeprefix(QUARANTINED): n for key, n in counts.items() if key.startswith(QUARANTINED)
    }
    votes = method.votes(rules, quarantined)
    return {
        "ballots": quarantined[BALLOTS],
        "selections": sum(votes.values()),
        "choices": [{"number": number, "votes": count} for number, count in sorted(votes.items())],
        "reasons": reasons,
    }


def state_message(poll: Poll) -> dict[str, Any]:
    """Return the message about a poll's state for WebSockets and event streams."""
    fields = ("poll", "round", "epoch", "revision", "state", "opens_at", "closes_at", "closed_at")
    doc = poll_document(poll)
    return {"type": "state", **{field: doc[field] for field in fields}}
