"""Write a batch of ballots to the ledger: at most one ballot per voter, and no ballot twice.

The caller holds the lock of the partition's checkpoint. All ballots of a voter are in one partition, so
no other worker writes the ballots of these voters.
"""

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
    """A voter's last ballot in a batch."""

    entry: Entry
    replaced: set[bytes]  # ids of the voter's earlier ballots in this batch
    decision_id: int | None  # the decision that quarantines this ballot and the voter's later ballots


@dataclass(slots=True)
class Replacement:
    """A ballot that replaced the voter's earlier ballot in the ledger."""

    old_selection: str
    was_quarantined: bool
    entry: Entry
    decision_id: int | None


@dataclass(slots=True)
class Written:
    """The outcome of a batch: new ballots, ballots that replaced another ballot, and refused ballots."""

    added: BlocksByDecision = field(default_factory=dict)
    replaced: list[Replacement] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)


def voter_key_of(entry: Entry) -> VoterKey:
    return entry.poll_id, entry.round, entry.voter_key


def collapse(
    entries: Iterable[Entry], decisions: Decisions
) -> tuple[dict[VoterKey, LatestBallot], list[Entry]]:
    """Return each voter's last ballot, and the refused ballots: second ballots without `replaces`."""
    last: dict[VoterKey, LatestBallot] = {}
    refused = []
    for entry in entries:
        earlier = last.get(voter_key_of(entry))
        if earlier is None:
            replaced = {entry.replaces} if entry.replaces else set()
            last[voter_key_of(entry)] = LatestBallot(entry, replaced, decisions.decision_for(entry))
        elif entry.ballot_id == earlier.entry.ballot_id:
            continue  # the batch contains the same entry twice
        elif entry.replaces is None:
            refused.append(entry)
        else:
            earlier.replaced |= {entry.replaces, earlier.entry.ballot_id}
            earlier.entry = entry
            if earlier.decision_id is None:
                earlier.decision_id = decisions.decision_for(entry)
    return last, refused


def write(plain: BlocksByDecision, latest: dict[VoterKey, LatestBallot]) -> Written:
    """Write the ballots to the ledger. A ballot that is already in the ledger changes nothing.

    The ballots in `plain` replace none. Each voter has at most one ballot, either in `plain` or in `latest`.
    """
    new: BlocksByDecision = {decision_id: list(blocks) for decision_id, blocks in plain.items()}
    written = Written(new)
    replacing = {voter: ballot for voter, ballot in latest.items() if ballot.replaced}
    rows = ballots_of(replacing) if replacing else {}
    for voter, ballot in sorted(latest.items()):
        row = rows.get(voter)
        if row is None:
            new.setdefault(ballot.decision_id, []).append(_block_of_one(ballot.entry))
        elif _replaces(voter, ballot, row):
            # The same decision quarantines the new ballot, so that voting again doesn't end a quarantine.
            quarantined = row.quarantine_id is not None
            decision_id = row.quarantine_id if quarantined else ballot.decision_id
            written.replaced.append(Replacement(row.selection, quarantined, ballot.entry, decision_id))
        elif row.ballot_id != ballot.entry.ballot_id:
            written.refused.append(ballot.entry)
    _replace(written.replaced)
    voters_in_ledger = ballot_rows.insert(new) if new else {}
    if voters_in_ledger:
        _drop_existing(written, voters_in_ledger)
    return written


def _replaces(voter: VoterKey, ballot: LatestBallot, row: LedgerRow) -> bool:
    return row.ballot_id in ballot.replaced or row.ballot_id in _replaced_dead_letters(voter, ballot.replaced)


def _drop_existing(written: Written, voters: dict[RoundKey, set[bytes]]) -> None:
    """Move the ballots of these voters from `added` to `refused`: each already had a ballot in the ledger."""
    for decision_id, blocks in written.added.items():
        remaining: list[Block] = []
        for block in blocks:
            pieces, refused = split_block(block, voters.get((block.poll_id, block.round), set()))
            remaining += pieces
            written.refused += refused
        written.added[decision_id] = remaining
    # If the ledger contains this very ballot, the same entry was counted before. It isn't refused.
    rows = ballots_of({voter_key_of(entry) for entry in written.refused})
    counted = {(voter, row.ballot_id) for voter, row in rows.items()}
    written.refused = [e for e in written.refused if (voter_key_of(e), e.ballot_id) not in counted]


def _replaced_dead_letters(voter: VoterKey, replaced: Iterable[bytes]) -> set[bytes]:
    """Return the ids of the ballots that the dead letters in `replaced` would have replaced.

    A ballot that replaces a dead letter also replaces the ballot that the dead letter would have replaced. If
    that ballot is a dead letter too, continue with the ballot before it.
    """
    poll_id, round_, voter_key = voter
    letters = DeadLetter.objects.filter(poll_id=poll_id, round=round_, voter_key=voter_key)
    before = {
        bytes(ballot_id): bytes(replaces)
        for ballot_id, replaces in letters.values_list("ballot_id", "replaces")
        if replaces is not None
    }
    found: set[bytes] = set()
    pending = list(replaced)
    while pending:
        earlier = before.get(pending.pop())
        if earlier is not None and earlier not in found:
            found.add(earlier)
            pending.append(earlier)
    return found


def _block_of_one(entry: Entry) -> Block:
    columns = [entry.voter_key], [entry.ballot_id], [entry.selection]
    return Block(
        entry.position,
        "ballot",
        entry.poll_id,
        entry.round,
        entry.at,
        *columns,
        quarantine_rule=entry.quarantine_rule,
    )


def _replace(replacements: Sequence[Replacement]) -> None:
    if not replacements:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE polls_ballot SET ballot_id = %s, selection = %s, quarantine_id = %s"
            " WHERE poll_id = %s AND round = %s AND voter_key = %s",
            [
                (r.entry.ballot_id, r.entry.selection, r.decision_id, *voter_key_of(r.entry))
                for r in replacements
            ],
        )
