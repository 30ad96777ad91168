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
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction

from analytics.counting.quarantine_assignment import Decisions, Groups
from analytics.counting.validation import RoundKey, divide
from polls.models import Ballot, DeadLetter
from polls.votelog.entries import Block, Entry

VoterKey = tuple[int, int, bytes]  # poll_id, round, voter_key
Row = tuple[int, int, bytes, bytes, str, int | None]
_CHUNK = 400
_COLUMNS = "poll_id, round, voter_key, ballot_id, selection"
_ALL_COLUMNS = f"{_COLUMNS}, quarantine_id"
_KNOWN = ("voter_key", "ballot_id", "selection", "quarantine_id")

#: How long after a ballot that was there already we look before we write, so as not to write all twice.
_WARY_SECONDS = 10.0
_wary_until = 0.0


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
    known = _ballots_of(changing) if changing else {}
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
    voters_there = _insert(first) if first else {}
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
    known = _ballots_of({voter_of(entry) for entry in written.refused})
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


def _insert(groups: Groups) -> dict[RoundKey, set[bytes]]:
    """Insert what isn't there, each round in the order of its voters; per round, the voters that were."""
    global _wary_until
    if time.monotonic() >= _wary_until:
        try:
            with transaction.atomic():
                _insert_all(groups)
            return {}
        except IntegrityError:
            # Where one was there already, more may follow: for a while don't write everything in vain.
            _wary_until = time.monotonic() + _WARY_SECONDS
    there = _insert_new(groups)
    found: dict[RoundKey, set[bytes]] = defaultdict(set)
    for poll_id, round_, voter_key in there:
        found[poll_id, round_].add(voter_key)
    return found


def _insert_all(groups: Groups) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _copy(cursor, "polls_ballot", groups)
        else:
            _insert_rows(cursor, sorted(_rows(groups), key=_voter_of_row))


def _insert_new(groups: Groups) -> set[VoterKey]:
    voters = {row[:3] for row in _rows(groups)}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return voters - _copy_new(cursor, groups)
        there = set(_ballots_of(voters))
        new = (row for row in _rows(groups) if row[:3] not in there)
        _insert_rows(cursor, sorted(new, key=_voter_of_row))
        return there


def _rows(groups: Groups) -> Iterator[Row]:
    for apart, blocks in groups.items():
        for block in blocks:
            where = repeat(block.poll_id), repeat(block.round)
            ballots = block.voter_keys, block.ballot_ids, block.selections
            yield from zip(*where, *ballots, repeat(apart), strict=False)


def _voter_of_row(row: Row) -> VoterKey:
    return row[:3]


def _insert_rows(cursor: Any, rows: Sequence[Row]) -> None:
    cursor.executemany(f"INSERT INTO polls_ballot ({_ALL_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)", rows)  # noqa: S608


def _copy_new(cursor: Any, groups: Groups) -> set[VoterKey]:
    """By way of a temporary table; the voters whose ballots were new."""
    cursor.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_ballot (poll_id bigint, round smallint,"
        " voter_key bytea, ballot_id bytea, selection varchar, quarantine_id bigint) ON COMMIT DELETE ROWS"
    )
    # An earlier batch of the same transaction, where there is one around several.
    cursor.execute("DELETE FROM incoming_ballot")
    _copy(cursor, "incoming_ballot", groups)
    cursor.execute(
        f"INSERT INTO polls_ballot ({_ALL_COLUMNS}) SELECT {_ALL_COLUMNS} FROM incoming_ballot"  # noqa: S608
        " ON CONFLICT DO NOTHING RETURNING poll_id, round, voter_key"
    )
    return {(poll_id, round_, bytes(voter)) for poll_id, round_, voter in cursor.fetchall()}


def _copy(cursor: Any, table: str, groups: Groups) -> None:
    """Nearly always one statement: a decision to count ballots apart has one of its own."""
    for apart, blocks in groups.items():
        columns = _COLUMNS if apart is None else _ALL_COLUMNS
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
        with connection.wrap_database_errors, cursor.copy(statement) as copy:
            copy.write(_binary(blocks, apart))


_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + pack(">ii", 0, 0)
_END = pack(">h", -1)
_KEY = pack(">i", 16)  # how long a voter_key is, and a ballot_id


def _binary(blocks: Sequence[Block], apart: int | None = None) -> bytes:
    """COPY's binary format: put together from whole columns, several times as fast as row by row."""
    rounds: dict[RoundKey, list[bytes]] = defaultdict(list)
    # A row's last column ends where the next row begins, or all of them end.
    last, fields = (b"", 5) if apart is None else (pack(">iq", 8, apart), 6)
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
        start = pack(">hiqih", fields, 8, poll_id, 2, round_) + _KEY
        parts += (start, (last + start).join(rows), last)
    return b"".join([*parts, _END])


def _field(content: bytes) -> bytes:
    return pack(">i", len(content)) + content


def _replace(replacements: Sequence[Replacement]) -> None:
    with connection.cursor() as cursor:
        if replacements:
            cursor.executemany(
                "UPDATE polls_ballot SET ballot_id = %s, selection = %s, quarantine_id = %s"
                " WHERE poll_id = %s AND round = %s AND voter_key = %s",
                [(r.entry.ballot_id, r.entry.selection, r.apart, *voter_of(r.entry)) for r in replacements],
            )


class Known(NamedTuple):
    """A ballot of the ledger."""

    ballot_id: bytes
    selection: str
    quarantine_id: int | None


def _ballots_of(voters: Iterable[VoterKey]) -> dict[VoterKey, Known]:
    """These voters' ballots."""
    by_round: dict[tuple[int, int], list[bytes]] = {}
    for poll_id, round_, voter_key in voters:
        by_round.setdefault((poll_id, round_), []).append(voter_key)
    found = {}
    for (poll_id, round_), keys in by_round.items():
        for i in range(0, len(keys), _CHUNK):
            rows = Ballot.objects.filter(poll_id=poll_id, round=round_, voter_key__in=keys[i : i + _CHUNK])
            for voter, ballot_id, *rest in rows.values_list(*_KNOWN):
                found[(poll_id, round_, bytes(voter))] = Known(bytes(ballot_id), *rest)
    return found
