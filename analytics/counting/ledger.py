"""Writing a batch of ballots to the ledger: what it took, and nothing twice.

The caller holds the partition's checkpoint, and a voter's ballots are all in one
partition, so no other writer has these voters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import connection

from analytics.counting import ballot_rows
from analytics.counting.ballot_rows import Known, VoterKey, ballots_of
from analytics.counting.quarantine_assignment import Decisions, Groups
from analytics.counting.validation import RoundKey, divide
from polls.models import DeadLetter
from polls.votelog.entries import Block, Entry


@dataclass(slots=True)
class Collapsed:
    """The last ballot of one voter in a batch, and the ballot_ids that it and its forerunners replace.

    apart: the decision by which it counts apart. Once apart, a voter's later ballots are so too.
    """

    entry: Entry
    replaced: set[bytes] = field(default_factory=set)
    apart: int | None = None


@dataclass(slots=True)
class Replacement:
    """A ballot that took another's place: what that one marked, and whether either counts apart."""

    old_selection: str
    was_apart: bool
    entry: Entry
    apart: int | None


@dataclass(slots=True)
class Written:
    """What the ledger took: new ballots, those that replaced one, and entries it refused."""

    added: Groups = field(default_factory=dict)
    replaced: list[Replacement] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)


def voter_of(entry: Entry) -> VoterKey:
    return entry.poll_id, entry.round, entry.voter_key


def collapse(
    entries: Iterable[Entry], decisions: Decisions | None = None
) -> tuple[dict[VoterKey, Collapsed], list[Entry]]:
    """Per voter the last ballot; and those that have no place: a second ballot that replaces nothing."""
    of = decisions.of if decisions else _in_the_first
    last: dict[VoterKey, Collapsed] = {}
    misfits = []
    for entry in entries:
        earlier = last.get(voter_of(entry))
        if earlier is None:
            replaced = {entry.replaces} if entry.replaces else set()
            last[voter_of(entry)] = Collapsed(entry, replaced, of(entry))
        elif entry.ballot_id == earlier.entry.ballot_id:
            continue  # a doubled entry
        elif entry.replaces is None:
            misfits.append(entry)
        else:
            earlier.replaced |= {entry.replaces, earlier.entry.ballot_id}
            earlier.entry = entry
            earlier.apart = of(entry) if earlier.apart is None else earlier.apart
    return last, misfits


def _in_the_first(_entry: Entry) -> None:
    """No ballot of the batch counts apart."""


def write(groups: Groups, collapsed: dict[VoterKey, Collapsed]) -> Written:
    """Put the ballots into the ledger; one that is there already changes nothing.

    `groups` are ballots that replace none. No voter is in them twice, or in both.
    """
    written = Written()
    first: Groups = {apart: list(blocks) for apart, blocks in groups.items()}
    for item in collapsed.values():
        if not item.replaced:
            first.setdefault(item.apart, []).append(_alone(item.entry))
    changing = {voter: c for voter, c in collapsed.items() if c.replaced}
    known = ballots_of(changing) if changing else {}
    for voter, item in sorted(changing.items()):
        there = known.get(voter)
        if there is None:
            first.setdefault(item.apart, []).append(_alone(item.entry))
        elif there.ballot_id in item.replaced or there.ballot_id in _forerunners(voter, item.replaced):
            written.replaced.append(_replacement(there, item))
        elif there.ballot_id != item.entry.ballot_id:
            written.refused.append(item.entry)
    _replace(written.replaced)

    written.added = first
    voters_there = ballot_rows.insert(first) if first else {}
    if voters_there:
        _take_out(written, voters_there)
    return written


def _replacement(there: Known, item: Collapsed) -> Replacement:
    """What was apart stays so, by the same decision: no voter gets out of there by changing the ballot."""
    was_apart = there.quarantine_id is not None
    apart = there.quarantine_id if was_apart else item.apart
    return Replacement(there.selection, was_apart, item.entry, apart)


def _take_out(written: Written, there: dict[RoundKey, set[bytes]]) -> None:
    """Those of the new ballots whose voters had one already."""
    for apart, blocks in written.added.items():
        left: list[Block] = []
        for block in blocks:
            pieces, refused = divide(block, there.get((block.poll_id, block.round), set()))
            left += pieces
            written.refused += refused
        written.added[apart] = left
    # Refused because the very same ballot is in already: a doubled entry, and all is well.
    known = ballots_of({voter_of(entry) for entry in written.refused})
    written.refused = [
        e for e in written.refused if voter_of(e) not in known or known[voter_of(e)].ballot_id != e.ballot_id
    ]


def _forerunners(voter: VoterKey, replaced: Iterable[bytes]) -> set[bytes]:
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


def _alone(entry: Entry) -> Block:
    columns = [entry.voter_key], [entry.ballot_id], [entry.selection]
    where = entry.poll_id, entry.round, entry.at
    return Block(entry.position, "ballot", *where, *columns, aside=entry.aside)


def _replace(replacements: Sequence[Replacement]) -> None:
    with connection.cursor() as cursor:
        if replacements:
            cursor.executemany(
                "UPDATE polls_ballot SET ballot_id = %s, selection = %s, quarantine_id = %s"
                " WHERE poll_id = %s AND round = %s AND voter_key = %s",
                [(r.entry.ballot_id, r.entry.selection, r.apart, *voter_of(r.entry)) for r in replacements],
            )
