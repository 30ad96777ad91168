"""Writing a batch of ballots to the ledger: what it took, and nothing twice.

The caller holds the partition's checkpoint, and a voter's ballots are all in one
partition, so no other writer has these voters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import connection

from polls.models import Ballot, DeadLetter
from polls.votelog.base import Entry

VoterKey = tuple[int, int, bytes]  # poll_id, round, voter_key
_CHUNK = 400
_COLUMNS = "poll_id, round, voter_key, ballot_id, selection"


@dataclass(slots=True)
class Collapsed:
    """The last ballot of one voter in a batch, and the ballot_ids that it and its forerunners replace."""

    entry: Entry
    replaced: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Written:
    """What the ledger took: new ballots, (old selection, new entry) pairs, and entries it refused."""

    added: list[Entry] = field(default_factory=list)
    replaced: list[tuple[str, Entry]] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)


def voter_of(entry: Entry) -> VoterKey:
    return entry.poll_id, entry.round, entry.voter_key


def collapse(entries: Iterable[Entry]) -> tuple[dict[VoterKey, Collapsed], list[Entry]]:
    """Per voter the last ballot; and those that have no place: a second ballot that replaces nothing."""
    last: dict[VoterKey, Collapsed] = {}
    misfits = []
    for entry in entries:
        earlier = last.get(voter_of(entry))
        if earlier is None:
            last[voter_of(entry)] = Collapsed(entry, {entry.replaces} if entry.replaces else set())
        elif entry.ballot_id == earlier.entry.ballot_id:
            continue  # a doubled entry
        elif entry.replaces is None:
            misfits.append(entry)
        else:
            earlier.replaced |= {entry.replaces, earlier.entry.ballot_id}
            earlier.entry = entry
    return last, misfits


def write(collapsed: dict[VoterKey, Collapsed]) -> Written:
    """Put the ballots into the ledger; one that is there already changes nothing."""
    # In the order of voters, not of arrival, so that the table's own order tells nothing either.
    first = [c.entry for _, c in sorted(collapsed.items()) if not c.replaced]
    changing = {voter: c for voter, c in collapsed.items() if c.replaced}
    written = Written()
    known = _ballots_of(changing) if changing else {}
    for voter, item in sorted(changing.items()):
        earlier = known.get(voter)
        if earlier is None:
            first.append(item.entry)
        elif earlier[0] in item.replaced or earlier[0] in _forerunners(voter, item.replaced):
            written.replaced.append((earlier[1], item.entry))
        elif earlier[0] != item.entry.ballot_id:
            written.refused.append(item.entry)
    _replace([entry for _, entry in written.replaced])

    taken = _insert(first)
    if taken is None:
        written.added = first
        return written
    for entry in first:
        (written.added if voter_of(entry) in taken else written.refused).append(entry)
    # Refused because the very same ballot is in already: a doubled entry, and all is well.
    there = _ballots_of({voter_of(entry) for entry in written.refused})
    written.refused = [e for e in written.refused if there.get(voter_of(e), (b"", ""))[0] != e.ballot_id]
    return written


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


def _insert(entries: Sequence[Entry]) -> set[VoterKey] | None:
    """Insert what isn't there; None where all was new, else the voters that were."""
    if not entries:
        return None
    rows = [(e.poll_id, e.round, e.voter_key, e.ballot_id, e.selection) for e in entries]
    if connection.vendor == "postgresql":
        return _copy(rows)
    there = set(_ballots_of({voter_of(entry) for entry in entries}))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO polls_ballot ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s)",  # noqa: S608
            [row for row in rows if row[:3] not in there],
        )
    return {row[:3] for row in rows} - there if there else None


def _copy(rows: Sequence[tuple[int, int, bytes, bytes, str]]) -> set[VoterKey] | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_ballot (poll_id bigint, round smallint,"
            " voter_key bytea, ballot_id bytea, selection varchar) ON COMMIT DELETE ROWS"
        )
        # An earlier batch of the same transaction, where there is one around several.
        cursor.execute("DELETE FROM incoming_ballot")
        with cursor.copy(f"COPY incoming_ballot ({_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "int2", "bytea", "bytea", "varchar"])
            for row in rows:
                copy.write_row(row)
        cursor.execute(
            f"INSERT INTO polls_ballot ({_COLUMNS}) SELECT {_COLUMNS} FROM incoming_ballot"  # noqa: S608
            " ON CONFLICT DO NOTHING RETURNING poll_id, round, voter_key"
        )
        if cursor.rowcount == len(rows):
            return None
        return {(poll_id, round_, bytes(voter)) for poll_id, round_, voter in cursor.fetchall()}


def _replace(entries: Sequence[Entry]) -> None:
    with connection.cursor() as cursor:
        if entries:
            cursor.executemany(
                "UPDATE polls_ballot SET ballot_id = %s, selection = %s"
                " WHERE poll_id = %s AND round = %s AND voter_key = %s",
                [(e.ballot_id, e.selection, e.poll_id, e.round, e.voter_key) for e in entries],
            )


def _ballots_of(voters: Iterable[VoterKey]) -> dict[VoterKey, tuple[bytes, str]]:
    """(ballot_id, selection) of these voters' counted ballots."""
    by_round: dict[tuple[int, int], list[bytes]] = {}
    for poll_id, round_, voter_key in voters:
        by_round.setdefault((poll_id, round_), []).append(voter_key)
    found = {}
    for (poll_id, round_), keys in by_round.items():
        for i in range(0, len(keys), _CHUNK):
            rows = Ballot.objects.filter(poll_id=poll_id, round=round_, voter_key__in=keys[i : i + _CHUNK])
            for voter, ballot_id, selection in rows.values_list("voter_key", "ballot_id", "selection"):
                found[(poll_id, round_, bytes(voter))] = (bytes(ballot_id), selection)
    return found
