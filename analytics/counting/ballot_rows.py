"""Read and insert rows of the ledger in bulk.

On PostgreSQL, COPY writes ballots straight into the ledger. COPY fails if the ledger has a ballot of one of
the voters. After such a failure, ballots are copied to a temporary table first, for ten seconds.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from struct import pack
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction

from analytics.counting.quarantine_assignment import BlocksByDecision
from analytics.counting.validation import RoundKey
from polls.models import Ballot
from polls.votelog.entries import Block

VoterKey = tuple[int, int, bytes]  # poll_id, round, voter_key
Row = tuple[int, int, bytes, bytes, str, int | None]
_CHUNK = 400  # voters per query: SQLite limits the number of parameters
_COLUMNS = "poll_id, round, voter_key, ballot_id, selection"
_ALL_COLUMNS = f"{_COLUMNS}, quarantine_id"

#: How long inserts check for voters who are already in the ledger, after such a voter made an insert fail.
#: Without the check, every batch with such a voter would be written twice.
_CHECK_FIRST_SECONDS = 10.0
_check_first_until = 0.0


def insert(groups: BlocksByDecision) -> dict[RoundKey, set[bytes]]:
    """Insert the ballots. Skip voters who are in the ledger already. Return the skipped voters by round.

    Rows are inserted in the order of voters, not of arrival, so that the table doesn't tell who voted when.
    """
    global _check_first_until
    if time.monotonic() >= _check_first_until:
        try:
            with transaction.atomic():
                _insert_all(groups)
            return {}
        except IntegrityError:
            _check_first_until = time.monotonic() + _CHECK_FIRST_SECONDS
    existing = _insert_missing(groups)
    found: dict[RoundKey, set[bytes]] = defaultdict(set)
    for poll_id, round_, voter_key in existing:
        found[poll_id, round_].add(voter_key)
    return found


def _insert_all(groups: BlocksByDecision) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _copy(cursor, "polls_ballot", groups)
        else:
            _insert_rows(cursor, _rows(groups))


def _insert_missing(groups: BlocksByDecision) -> set[VoterKey]:
    voters = {row[:3] for row in _rows(groups)}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return voters - _copy_new(cursor, groups)
        existing = set(ballots_of(voters))
        _insert_rows(cursor, (row for row in _rows(groups) if row[:3] not in existing))
        return existing


def _rows(groups: BlocksByDecision) -> Iterator[Row]:
    for decision_id, blocks in groups.items():
        for block in blocks:
            yield from zip(
                repeat(block.poll_id),
                repeat(block.round),
                block.voter_keys,
                block.ballot_ids,
                block.selections,
                repeat(decision_id),
                strict=False,
            )


def _insert_rows(cursor: Any, rows: Iterable[Row]) -> None:
    by_voter = sorted(rows, key=lambda row: row[:3])
    cursor.executemany(
        f"INSERT INTO polls_ballot ({_ALL_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)",  # noqa: S608
        by_voter,
    )


def _copy_new(cursor: Any, groups: BlocksByDecision) -> set[VoterKey]:
    """Insert through a temporary table. Return the voters whose ballots were inserted."""
    cursor.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_ballot (poll_id bigint, round smallint,"
        " voter_key bytea, ballot_id bytea, selection varchar, quarantine_id bigint) ON COMMIT DELETE ROWS"
    )
    # If one transaction counts several batches, the table still holds the rows of the previous batch.
    cursor.execute("DELETE FROM incoming_ballot")
    _copy(cursor, "incoming_ballot", groups)
    cursor.execute(
        f"INSERT INTO polls_ballot ({_ALL_COLUMNS}) SELECT {_ALL_COLUMNS} FROM incoming_ballot"  # noqa: S608
        " ON CONFLICT DO NOTHING RETURNING poll_id, round, voter_key"
    )
    return {(poll_id, round_, bytes(voter)) for poll_id, round_, voter in cursor.fetchall()}


def _copy(cursor: Any, table: str, groups: BlocksByDecision) -> None:
    """COPY the ballots: a statement for each quarantine decision, and a statement for the other ballots."""
    for decision_id, blocks in groups.items():
        columns = _COLUMNS if decision_id is None else _ALL_COLUMNS
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
        with connection.wrap_database_errors, cursor.copy(statement) as copy:
            copy.write(_binary(blocks, decision_id))


_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + pack(">ii", 0, 0)
_END = pack(">h", -1)
_KEY_LENGTH = pack(">i", 16)  # the length of a voter_key and of a ballot_id


def _binary(blocks: Sequence[Block], decision_id: int | None = None) -> bytes:
    """Return rows in COPY's binary format. Joining columns is several times as fast as encoding rows."""
    rounds: dict[RoundKey, list[bytes]] = defaultdict(list)
    # `last` is the last column of each row: the decision's id, or nothing if there is no decision.
    last, fields = (b"", 5) if decision_id is None else (pack(">iq", 8, decision_id), 6)
    for block in blocks:
        selections = {text: _field(text.encode()) for text in set(block.selections)}
        columns = (
            block.voter_keys,
            repeat(_KEY_LENGTH),
            block.ballot_ids,
            map(selections.__getitem__, block.selections),
        )
        rounds[block.poll_id, block.round] += map(b"".join, zip(*columns, strict=False))
    parts = [_SIGNATURE]
    for (poll_id, round_), rows in sorted(rounds.items()):
        rows.sort()  # by voter
        start = pack(">hiqih", fields, 8, poll_id, 2, round_) + _KEY_LENGTH
        parts += (start, (last + start).join(rows), last)
    return b"".join([*parts, _END])


def _field(content: bytes) -> bytes:
    return pack(">i", len(content)) + content


class LedgerRow(NamedTuple):
    ballot_id: bytes
    selection: str
    quarantine_id: int | None


def ballots_of(voters: Iterable[VoterKey]) -> dict[VoterKey, LedgerRow]:
    """Return these voters' ballots in the ledger."""
    found = {}
    for some in lookups(voters):
        rows = Ballot.objects.filter(**some).values_list("poll_id", "round", "voter_key", *LedgerRow._fields)
        for poll_id, round_, voter, ballot_id, *rest in rows:
            found[poll_id, round_, bytes(voter)] = LedgerRow(bytes(ballot_id), *rest)
    return found


def lookups(voters: Iterable[VoterKey]) -> Iterator[dict[str, Any]]:
    """Yield filters by poll, round and voter_key that together select the rows of these voters."""
    by_round: dict[RoundKey, list[bytes]] = defaultdict(list)
    for poll_id, round_, voter_key in voters:
        by_round[poll_id, round_].append(voter_key)
    for (poll_id, round_), keys in by_round.items():
        for i in range(0, len(keys), _CHUNK):
            yield {"poll_id": poll_id, "round": round_, "voter_key__in": keys[i : i + _CHUNK]}
