"""Writing a batch of ballots to the ledger: what it took, and nothing twice.

The caller holds the partition's checkpoint, and a voter's ballots are all in one
partition, so no other writer has these voters.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from struct import pack
from typing import Any

from django.db import IntegrityError, connection, transaction

from polls.models import Ballot, DeadLetter
from polls.votelog.base import Block, Entry

from .judging import RoundKey, divide

VoterKey = tuple[int, int, bytes]  # poll_id, round, voter_key
Row = tuple[int, int, bytes, bytes, str]
_CHUNK = 400
_COLUMNS = "poll_id, round, voter_key, ballot_id, selection"

#: How long after a ballot that was there already we look before we write, so as not to write all twice.
_WARY_SECONDS = 10.0
_wary_until = 0.0


@dataclass(slots=True)
class Collapsed:
    """The last ballot of one voter in a batch, and the ballot_ids that it and its forerunners replace."""

    entry: Entry
    replaced: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Written:
    """What the ledger took: new ballots, (old selection, new entry) pairs, and entries it refused."""

    added: list[Block] = field(default_factory=list)
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


def write(blocks: Sequence[Block], collapsed: dict[VoterKey, Collapsed]) -> Written:
    """Put the ballots into the ledger; one that is there already changes nothing.

    `blocks` are ballots that replace none. No voter is in them twice, or in both.
    """
    written = Written()
    first = [*blocks, *(_alone(c.entry) for c in collapsed.values() if not c.replaced)]
    changing = {voter: c for voter, c in collapsed.items() if c.replaced}
    known = _ballots_of(changing) if changing else {}
    for voter, item in sorted(changing.items()):
        earlier = known.get(voter)
        if earlier is None:
            first.append(_alone(item.entry))
        elif earlier[0] in item.replaced or earlier[0] in _forerunners(voter, item.replaced):
            written.replaced.append((earlier[1], item.entry))
        elif earlier[0] != item.entry.ballot_id:
            written.refused.append(item.entry)
    _replace([entry for _, entry in written.replaced])

    there = _insert(first) if first else {}
    if not there:
        written.added = first
        return written
    for block in first:
        pieces, refused = divide(block, there.get((block.poll_id, block.round), set()))
        written.added += pieces
        written.refused += refused
    # Refused because the very same ballot is in already: a doubled entry, and all is well.
    known = _ballots_of({voter_of(entry) for entry in written.refused})
    written.refused = [e for e in written.refused if known.get(voter_of(e), (b"", ""))[0] != e.ballot_id]
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


def _alone(entry: Entry) -> Block:
    columns = [entry.voter_key], [entry.ballot_id], [entry.selection]
    return Block(entry.position, "ballot", entry.poll_id, entry.round, entry.at, *columns)


def _insert(blocks: Sequence[Block]) -> dict[RoundKey, set[bytes]]:
    """Insert what isn't there, each round in the order of its voters; per round, the voters that were."""
    global _wary_until
    if time.monotonic() >= _wary_until:
        try:
            with transaction.atomic():
                _insert_all(blocks)
            return {}
        except IntegrityError:
            # Where one was there already, more may follow: for a while don't write everything in vain.
            _wary_until = time.monotonic() + _WARY_SECONDS
    there = _insert_new(blocks)
    found: dict[RoundKey, set[bytes]] = defaultdict(set)
    for poll_id, round_, voter_key in there:
        found[poll_id, round_].add(voter_key)
    return found


def _insert_all(blocks: Sequence[Block]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _copy(cursor, "polls_ballot", blocks)
        else:
            _insert_rows(cursor, sorted(_rows(blocks)))


def _insert_new(blocks: Sequence[Block]) -> set[VoterKey]:
    voters = {row[:3] for row in _rows(blocks)}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return voters - _copy_new(cursor, blocks)
        there = set(_ballots_of(voters))
        _insert_rows(cursor, sorted(row for row in _rows(blocks) if row[:3] not in there))
        return there


def _rows(blocks: Iterable[Block]) -> Iterator[Row]:
    for block in blocks:
        where = repeat(block.poll_id), repeat(block.round)
        yield from zip(*where, block.voter_keys, block.ballot_ids, block.selections, strict=False)


def _insert_rows(cursor: Any, rows: Sequence[Row]) -> None:
    cursor.executemany(f"INSERT INTO polls_ballot ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s)", rows)  # noqa: S608


def _copy_new(cursor: Any, blocks: Sequence[Block]) -> set[VoterKey]:
    """By way of a temporary table; the voters whose ballots were new."""
    cursor.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_ballot (poll_id bigint, round smallint,"
        " voter_key bytea, ballot_id bytea, selection varchar) ON COMMIT DELETE ROWS"
    )
    # An earlier batch of the same transaction, where there is one around several.
    cursor.execute("DELETE FROM incoming_ballot")
    _copy(cursor, "incoming_ballot", blocks)
    cursor.execute(
        f"INSERT INTO polls_ballot ({_COLUMNS}) SELECT {_COLUMNS} FROM incoming_ballot"  # noqa: S608
        " ON CONFLICT DO NOTHING RETURNING poll_id, round, voter_key"
    )
    return {(poll_id, round_, bytes(voter)) for poll_id, round_, voter in cursor.fetchall()}


def _copy(cursor: Any, table: str, blocks: Sequence[Block]) -> None:
    statement = f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
    with connection.wrap_database_errors, cursor.copy(statement) as copy:
        copy.write(_binary(blocks))


_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + pack(">ii", 0, 0)
_END = pack(">h", -1)
_KEY = pack(">i", 16)  # how long a voter_key is, and a ballot_id


def _binary(blocks: Sequence[Block]) -> bytes:
    """COPY's binary format: put together from whole columns, several times as fast as row by row."""
    rounds: dict[RoundKey, list[bytes]] = defaultdict(list)
    for block in blocks:
        selections = {text: _field(text.encode()) for text in set(block.selections)}
        columns = (
            block.voter_keys,
            repeat(_KEY),
            block.ballot_ids,
            map(selections.__getitem__, block.selections),
        )
        rounds[block.poll_id, block.round] += map(b"".join, zip(*columns, strict=False))
    parts = [_SIGNATURE]
    for (poll_id, round_), rows in sorted(rounds.items()):
        # By voter, not by arrival, so that the table's own order tells nothing either.
        rows.sort()
        start = pack(">hiqih", 5, 8, poll_id, 2, round_) + _KEY
        parts += (start, start.join(rows))
    return b"".join([*parts, _END])


def _field(content: bytes) -> bytes:
    return pack(">i", len(content)) + content


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
