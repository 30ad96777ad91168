"""Writing a batch of ballots to the ledger: what it took, and nothing twice.

The caller holds the partition's checkpoint, and a voter's ballots are all in one
partition, so no other writer has these voters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import connection

from analytics.counting import ballot_rows
from analytics.counting.ballot_rows import LedgerRow, VoterKey, ballots_of
from analytics.counting.quarantine_assignment import BlocksByDecision, Decisions
from analytics.counting.validation import RoundKey, split_block
from polls.models import DeadLetter
from polls.votelog.entries import Block, Entry


@dataclass(slots=True)
class LatestBallot:
    """The last ballot of one voter in a batch, and the ballot_ids that it and its forerunners replace.

    apart: the decision by which it counts apart. Once apart, a voter's later ballots are so too.
    """

    entry: Entry
    replaced: set[bytes] = field(default_factory=set)
    decision_id: int | None = None


@dataclass(slots=True)
class Replacement:
    """A ballot that took another's place: what that one marked, and whether either counts apart."""

    old_selection: str
    was_quarantined: bool
    entry: Entry
    decision_id: int | None


@dataclass(slots=True)
class Written:
    """What the ledger took: new ballots, those that replaced one, and entries it refused."""

    added: BlocksByDecision = field(default_factory=dict)
    replaced: list[Replacement] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)


def voter_key_of(entry: Entry) -> VoterKey:
    return entry.poll_id, entry.round, entry.voter_key


def collapse(
    entries: Iterable[Entry], decisions: Decisions | None = None
) -> tuple[dict[VoterKey, LatestBallot], list[Entry]]:
    """Per voter the last ballot; and those that have no place: a second ballot that replaces nothing."""
    of = decisions.decision_for if decisions else _no_decision
    last: dict[VoterKey, LatestBallot] = {}
    refused = []
    for entry in entries:
        earlier = last.get(voter_key_of(entry))
        if earlier is None:
            replaced = {entry.replaces} if entry.replaces else set()
            last[voter_key_of(entry)] = LatestBallot(entry, replaced, of(entry))
        elif entry.ballot_id == earlier.entry.ballot_id:
            continue  # a doubled entry
        elif entry.replaces is None:
            refused.append(entry)
        else:
            earlier.replaced |= {entry.replaces, earlier.entry.ballot_id}
            earlier.entry = entry
            earlier.decision_id = of(entry) if earlier.decision_id is None else earlier.decision_id
    return last, refused


def _no_decision(_entry: Entry) -> None:
    """No ballot of the batch counts apart."""


def write(groups: BlocksByDecision, collapsed: dict[VoterKey, LatestBallot]) -> Written:
    """Put the ballots into the ledger; one that is there already changes nothing.

    `groups` are ballots that replace none. No voter is in them twice, or in both.
    """
    written = Written()
    first: BlocksByDecision = {decision_id: list(blocks) for decision_id, blocks in groups.items()}
    for item in collapsed.values():
        if not item.replaced:
            first.setdefault(item.decision_id, []).append(_block_of_one(item.entry))
    changing = {voter: c for voter, c in collapsed.items() if c.replaced}
    known = ballots_of(changing) if changing else {}
    for voter, item in sorted(changing.items()):
        existing = known.get(voter)
        if existing is None:
            first.setdefault(item.decision_id, []).append(_block_of_one(item.entry))
        elif existing.ballot_id in item.replaced or existing.ballot_id in _replaced_dead_letters(
            voter, item.replaced
        ):
            written.replaced.append(_replacement(existing, item))
        elif existing.ballot_id != item.entry.ballot_id:
            written.refused.append(item.entry)
    _replace(written.replaced)

    written.added = first
    voters_there = ballot_rows.insert(first) if first else {}
    if voters_there:
        _drop_existing(written, voters_there)
    return written


def _replacement(existing: LedgerRow, item: LatestBallot) -> Replacement:
    """What was apart stays so, by the same decision: no voter gets out of there by changing the ballot."""
    was_quarantined = existing.quarantine_id is not None
    decision_id = existing.quarantine_id if was_quarantined else item.decision_id
    return Replacement(existing.selection, was_quarantined, item.entry, decision_id)


def _drop_existing(written: Written, existing: dict[RoundKey, set[bytes]]) -> None:
    """Those of the new ballots whose voters had one already."""
    for decision_id, blocks in written.added.items():
        left: list[Block] = []
        for block in blocks:
            pieces, refused = split_block(block, existing.get((block.poll_id, block.round), set()))
            left += pieces
            written.refused += refused
        written.added[decision_id] = left
    # Refused because the very same ballot is in already: a doubled entry, and all is well.
    known = ballots_of({voter_key_of(entry) for entry in written.refused})
    written.refused = [
        e
        for e in written.refused
        if voter_key_of(e) not in known or known[voter_key_of(e)].ballot_id != e.ballot_id
    ]


def _replaced_dead_letters(voter: VoterKey, replaced: Iterable[bytes]) -> set[bytes]:
    """What was replaced by ballots that were set aside, and that their successor so replaces."""
    poll_id, round_, voter_key = voter
    letters = DeadLetter.objects.filter(poll_id=poll_id, round=round_, voter_key=voter_key)
    before = {
        bytes(ballot_id): bytes(replaces)
        for ballot_id, replaces in letters.values_list("ballot_id", "replaces")
        if replaces is not None
    }
    found: set[bytes] = set()
    following = [before[ballot_id] for ballot_id in replaced if ballot_id in before]
    while following:
        ballot_id = following.pop()
        if ballot_id not in found:
            found.add(ballot_id)
            following += [before[ballot_id]] if ballot_id in before else []
    return found


def _block_of_one(entry: Entry) -> Block:
    columns = [entry.voter_key], [entry.ballot_id], [entry.selection]
    return Block(entry.position, "ballot", entry.poll_id, entry.round, entry.at, *columns, aside=entry.aside)


def _replace(replacements: Sequence[Replacement]) -> None:
    with connection.cursor() as cursor:
        if replacements:
            cursor.executemany(
                "UPDATE polls_ballot SET ballot_id = %s, selection = %s, quarantine_id = %s"
                " WHERE poll_id = %s AND round = %s AND voter_key = %s",
                [
                    (r.entry.ballot_id, r.entry.selection, r.decision_id, *voter_key_of(r.entry))
                    for r in replacements
                ],
            )
