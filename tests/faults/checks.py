"""Check what always holds (docs/design.md) by comparing the journal with the stores and the screens.

Each check yields what is wrong, under its name. None of them knows what was done to the system.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.faults.journal import Journal, Submitted
from tests.faults.stored_state import StoredState

#: The most receipts that the full matrix looks up, first those of ballots whose outcome was once unknown.
RECEIPTS_ASKED = 150


@dataclass(frozen=True)
class Breach:
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


@dataclass(frozen=True)
class Evidence:
    """All that the checks look at."""

    journal: Journal
    stored: StoredState
    shown: list[dict[str, Any]]  # tallies, wherever one can be seen
    runs_backwards: list[str]  # what the screens noticed
    receipt_status: Callable[[str], str]
    receipts_asked: int = RECEIPTS_ASKED

    @property
    def ballots(self) -> Iterable[Submitted]:
        return self.journal.ballots.values()


Check = Callable[[Evidence], Iterator[str]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__.removeprefix("no_")] = function
    return function


def breaches(evidence: Evidence) -> list[Breach]:
    return [Breach(name, what) for name, look in CHECKS.items() for what in _first(look(evidence))]


def _first(whats: Iterator[str]) -> Iterator[str]:
    """Yield the first three findings, then how many more there are."""
    found = list(whats)
    yield from found[:3]
    if len(found) > 3:
        yield f"… and {len(found) - 3} more"


def lost_ballots(evidence: Evidence) -> list[Submitted]:
    """Acknowledged, the newest of their voter, and neither in the ledger nor set aside with a reason."""
    stored = evidence.stored
    return [
        newest
        for ballots in evidence.journal.voters.values()
        if (newest := _newest(ballots)) is not None
        and newest.ballot_id not in stored.ledger
        and newest.ballot_id not in stored.letters
    ]


def _newest(ballots: list[Submitted]) -> Submitted | None:
    return next(
        (b for b in reversed(ballots) if b.acknowledged and b.kind in ("first", "change", "once")), None
    )


@check
def no_lost(evidence: Evidence) -> Iterator[str]:
    for ballot in lost_ballots(evidence):
        yield f"{ballot.kind} ballot {ballot.ballot_id} ({ballot.lane}, {ballot.tries} tries) is nowhere"


def doubled_ballots(evidence: Evidence) -> list[str]:
    """Voters who count more than once, and ballots that were accepted although their voter had one."""
    keys: dict[str, set[str]] = {}
    voters: dict[str, set[str]] = {}
    for ballot_id, (voter_key, _) in evidence.stored.ledger.items():
        if ballot := evidence.journal.ballots.get(ballot_id):
            keys.setdefault(ballot.voter, set()).add(voter_key)
            voters.setdefault(voter_key, set()).add(ballot.voter)
    found = [f"{voter} has {len(several)} ballots" for voter, several in keys.items() if len(several) > 1]
    found += [f"{len(several)} voters share a ballot" for several in voters.values() if len(several) > 1]
    found += [f"{b.voter} got a second one accepted" for b in _accepted(evidence, "second")]
    return found


def _accepted(evidence: Evidence, *kinds: str) -> Iterator[Submitted]:
    for ballot in evidence.ballots:
        if ballot.kind in kinds and (ballot.acknowledged or ballot.ballot_id in evidence.stored.ledger):
            yield ballot


@check
def no_doubled(evidence: Evidence) -> Iterator[str]:
    yield from doubled_ballots(evidence)
    for ballot_id, (_, reason) in evidence.stored.letters.items():
        if reason == "already_counted":
            yield f"{ballot_id} was accepted although its voter had a ballot"


@check
def no_altered(evidence: Evidence) -> Iterator[str]:
    """What is counted was submitted, and says what was submitted; what was refused isn't in."""
    for ballot_id, (_, selection) in evidence.stored.ledger.items():
        ballot = evidence.journal.ballots.get(ballot_id)
        if ballot is None:
            yield f"nobody submitted {ballot_id}"
        elif selection != ",".join(map(str, ballot.selection)):
            yield f"{ballot_id} marked {ballot.selection}, and counts as {selection}"
        elif ballot.refused or ballot.surely_out:
            yield f"{ballot_id} was refused ({ballot.refused or ballot.turned_away}), and counts"


@check
def tally(evidence: Evidence) -> Iterator[str]:
    recount = evidence.stored.recount()
    for name, counts in evidence.stored.without_quarantine.items():
        if counts != recount:
            yield f"the {name} says {_differences(counts, recount)} (recount after the slash)"
    if evidence.stored.rows != len(evidence.stored.ledger):
        yield f"{evidence.stored.rows} rows for {len(evidence.stored.ledger)} ballots"


def _differences(one: Counter[str], other: Counter[str]) -> dict[str, str]:
    keys = sorted(one.keys() | other.keys())
    return {key: f"{one[key]}/{other[key]}" for key in keys if one[key] != other[key]}


@check
def screens(evidence: Evidence) -> Iterator[str]:
    recount = evidence.stored.recount()
    for shown in evidence.shown:
        figures = Counter({str(choice["number"]): choice["votes"] for choice in shown["choices"]})
        figures["ballots"] = shown["ballots"]
        if +figures != recount:
            yield f"shown is {_differences(figures, recount)} (recount after the slash)"


@check
def no_backwards(evidence: Evidence) -> Iterator[str]:
    yield from evidence.runs_backwards


@check
def receipts(evidence: Evidence) -> Iterator[str]:
    """One receipt a ballot, however often it was acknowledged, and it answers."""
    acknowledged = [ballot for ballot in evidence.ballots if ballot.acknowledged]
    for ballot in acknowledged:
        if len(ballot.receipts) > 1:
            yield f"{ballot.ballot_id} has {len(ballot.receipts)} receipts"
    owners = Counter(receipt for ballot in acknowledged for receipt in ballot.receipts)
    for receipt, count in owners.items():
        if count > 1:
            yield f"{count} ballots have the receipt {receipt}"
    doubtful = [ballot for ballot in acknowledged if ballot.unknown]
    most = evidence.receipts_asked
    others = random.sample(acknowledged, min(most, len(acknowledged)))
    for ballot in [*doubtful, *others][:most]:
        status = evidence.receipt_status(next(iter(ballot.receipts)))
        if status not in _may_say(evidence, ballot):
            yield f"that of {ballot.ballot_id} says {status}"


def _may_say(evidence: Evidence, ballot: Submitted) -> tuple[str, ...]:
    if ballot.ballot_id in evidence.stored.ledger:
        return ("counted", "quarantined")
    if ballot.ballot_id in evidence.stored.letters:
        return ("accepted", "rejected")
    return ("replaced",)


@check
def gate(evidence: Evidence) -> Iterator[str]:
    for ballot in _accepted(evidence, "early", "late"):
        yield f"a ballot that came {ballot.kind} was accepted"


@check
def no_unsettled(evidence: Evidence) -> Iterator[str]:
    for ballot in evidence.journal.unsettled():
        if ballot.kind == "once":
            continue
        yield f"{ballot.ballot_id} after {ballot.tries} tries"


@check
def answers(evidence: Evidence) -> Iterator[str]:
    """Nothing hangs, every "later" says when, and no valid ballot is turned away for good."""
    for kind, what in evidence.journal.complaints:
        yield f"{kind}: {what}"


@check
def result(evidence: Evidence) -> Iterator[str]:
    """A closed poll's result is what was counted."""
    stored = evidence.stored
    if stored.state != "closed" or stored.result is None:
        yield f"the poll is {stored.state}"
    elif stored.result["ballots"] != stored.recount()["ballots"]:
        yield f"{stored.result['ballots']} ballots, and {stored.recount()['ballots']} in the ledger"
