"""Check the invariants of docs/design.md by comparing the journal with the stores and the screens.

Each check yields a text for each violation that it finds. The checks don't know which fault was injected.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.faults.journal import Journal, Submitted
from tests.faults.stored_state import StoredState

#: How many receipts the full matrix looks up at most. Ballots whose outcome was once unknown come first.
RECEIPTS_ASKED = 150


@dataclass(frozen=True)
class Breach:
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


@dataclass(frozen=True)
class Evidence:
    """Everything that the checks compare."""

    journal: Journal
    stored: StoredState
    shown: list[dict[str, Any]]  # the tallies that the tally endpoint and the screens show
    runs_backwards: list[str]  # violations that the screens noticed
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


def _first(findings: Iterator[str]) -> Iterator[str]:
    """Yield the first three findings and the number of the others."""
    found = list(findings)
    yield from found[:3]
    if len(found) > 3:
        yield f"… and {len(found) - 3} more"


def lost_ballots(evidence: Evidence) -> list[Submitted]:
    """Return each voter's newest acknowledged ballot if it is neither in the ledger nor a dead letter."""
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
        yield f"{ballot.kind} ballot {ballot.ballot_id} ({ballot.lane}, {ballot.tries} tries) is lost"


def doubled_ballots(evidence: Evidence) -> list[str]:
    """Describe the voters with two counted ballots, and the second ballots that were accepted."""
    keys: dict[str, set[str]] = {}
    voters: dict[str, set[str]] = {}
    for ballot_id, (voter_key, _) in evidence.stored.ledger.items():
        if ballot := evidence.journal.ballots.get(ballot_id):
            keys.setdefault(ballot.voter, set()).add(voter_key)
            voters.setdefault(voter_key, set()).add(ballot.voter)
    found = [f"{voter} has {len(several)} ballots" for voter, several in keys.items() if len(several) > 1]
    found += [f"{len(several)} voters share a ballot" for several in voters.values() if len(several) > 1]
    found += [f"{b.voter}'s second ballot was accepted" for b in _accepted(evidence, "second")]
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
            yield f"{ballot_id} was accepted although its voter had already voted"


@check
def no_altered(evidence: Evidence) -> Iterator[str]:
    """Every counted ballot was submitted with this selection, and wasn't refused."""
    for ballot_id, (_, selection) in evidence.stored.ledger.items():
        ballot = evidence.journal.ballots.get(ballot_id)
        if ballot is None:
            yield f"nobody submitted {ballot_id}"
        elif selection != ",".join(map(str, ballot.selection)):
            yield f"{ballot_id} selected {ballot.selection}, but is counted as {selection}"
        elif ballot.refused or ballot.surely_out:
            yield f"{ballot_id} was refused ({ballot.refused or ballot.turned_away}), but is counted"


@check
def tally(evidence: Evidence) -> Iterator[str]:
    recount = evidence.stored.recount()
    for name, counts in evidence.stored.without_quarantine.items():
        if counts != recount:
            yield f"{name}/recount differ: {_differences(counts, recount)}"
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
            yield f"shown/recount differ: {_differences(figures, recount)}"


@check
def no_backwards(evidence: Evidence) -> Iterator[str]:
    yield from evidence.runs_backwards


@check
def receipts(evidence: Evidence) -> Iterator[str]:
    """Each acknowledged ballot has exactly one receipt, and looking it up gives the ballot's status."""
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
            yield f"the receipt of {ballot.ballot_id} says {status}"


def _may_say(evidence: Evidence, ballot: Submitted) -> tuple[str, ...]:
    if ballot.ballot_id in evidence.stored.ledger:
        return ("counted", "quarantined")
    if ballot.ballot_id in evidence.stored.letters:
        return ("accepted", "rejected")
    return ("replaced",)


@check
def gate(evidence: Evidence) -> Iterator[str]:
    for ballot in _accepted(evidence, "early", "late"):
        yield f"a ballot that was too {ballot.kind} was accepted"


@check
def no_unsettled(evidence: Evidence) -> Iterator[str]:
    for ballot in evidence.journal.unsettled():
        if ballot.kind == "once":
            continue
        yield f"{ballot.ballot_id} has no final answer after {ballot.tries} tries"


@check
def answers(evidence: Evidence) -> Iterator[str]:
    """No request hangs, every 429 and 503 has a Retry-After, and no valid ballot is refused permanently."""
    for kind, what in evidence.journal.complaints:
        yield f"{kind}: {what}"


@check
def result(evidence: Evidence) -> Iterator[str]:
    """The poll is closed, and its result has as many ballots as the ledger."""
    stored = evidence.stored
    if stored.state != "closed" or stored.result is None:
        yield f"the poll is {stored.state}"
    elif stored.result["ballots"] != stored.recount()["ballots"]:
        yield f"the result has {stored.result['ballots']} ballots, the ledger {stored.recount()['ballots']}"
