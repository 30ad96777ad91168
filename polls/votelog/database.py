"""The vote log in the project's own database: one partition, one writer at a time.

The writer holds an advisory lock (PostgreSQL) or an IMMEDIATE transaction (SQLite). Appends and changes of
gates therefore exclude each other. The clock is read under the lock, so no ballot is accepted after its gate
has closed. Positions are in commit order; a sequence wouldn't guarantee this order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from polls.db_connections import sqlite_write_turn
from polls.errors import LogInconsistent
from polls.models import Claim, LogEntry, LogGate, LogHead
from polls.votelog import rate_limits
from polls.votelog.admission import (
    ACCEPTED,
    Claimed,
    Gate,
    NewBallot,
    Outcome,
    decide,
    digest_of,
    pack_claim,
    unpack_claim,
)
from polls.votelog.entries import Block, Head, Marker

_OVERLOADED = Outcome("overloaded")
_ADVISORY_LOCK = 0x6C616E64  # "land"
_CHUNK = 400  # voter_keys per query: SQLite limits the number of variables


class DatabaseVoteLog:
    name = "database"
    partitions = 1

    def __init__(self, counted: Callable[[], Mapping[int, Head]] = dict) -> None:
        """`counted` is not used: this log can't be restored without the database that counts it."""
        self._windows = rate_limits.SlidingWindows()

    def append(self, ballots: Sequence[NewBallot], expected: Mapping[int, Head]) -> list[Outcome]:
        try:
            with self._locked() as now:
                outcomes = self._append(ballots, expected, now)
        except LogInconsistent as error:
            outcomes = [Outcome(error.code)] * len(ballots)
        # Count in this process only: a shared count would cost one more statement per ballot.
        self._windows.count(ballot.rate_limit_keys for ballot in ballots)
        return outcomes

    def _append(self, ballots: Sequence[NewBallot], expected: Mapping[int, Head], now: int) -> list[Outcome]:
        if 0 not in expected:
            raise LogInconsistent()
        head = self._head_for_writing(expected[0])
        full = head.position - expected[0].position >= settings.BACKLOG_LIMIT
        gates = self._gates({b.poll_id for b in ballots})
        claims = self._claims({(b.poll_id, b.voter_key) for b in ballots})
        position = head.position
        outcomes: list[Outcome] = []
        entries: list[LogEntry] = []
        changed: dict[tuple[int, bytes], Claim] = {}
        for ballot in ballots:
            voter = (ballot.poll_id, ballot.voter_key)
            claimed = claims[voter]
            outcome = decide(gates.get(ballot.poll_id), claimed, ballot, now)
            new = outcome.code == ACCEPTED and not outcome.repeated
            outcomes.append(_OVERLOADED if new and full else outcome)
            if not new or full:
                continue
            position += 1
            entries.append(self._entry(position, ballot, claimed, outcome.round, now))
            claimed.append(Claimed(outcome.round, ballot.ballot_id, digest_of(ballot.selection)))
            changed[voter] = Claim(
                poll_id=ballot.poll_id, voter_key=ballot.voter_key, record=pack_claim(claimed)
            )
        if entries:
            LogEntry.objects.bulk_create(entries)
            self._write_claims(changed.values())
            LogHead.objects.filter(partition=0).update(position=position)
        return outcomes

    def salt(self) -> tuple[bytes, float]:
        return rate_limits.new_salt()

    def read(self, partition: int, after: int, limit: int) -> list[Block]:
        rows = LogEntry.objects.filter(position__gt=after).order_by("position")[:limit]
        return [_block(list(group)) for _, group in groupby(rows.iterator(), _appended_together)]

    def trim(self, partition: int, upto: int) -> None:
        LogEntry.objects.filter(position__lte=upto).delete()

    def forget(self, poll_id: int, counted: Mapping[int, int]) -> None:
        with self._locked():
            ballots = LogEntry.objects.filter(poll_id=poll_id, kind="ballot")
            ballots.filter(position__lte=counted.get(0, 0)).delete()
            Claim.objects.filter(poll_id=poll_id).delete()

    def heads(self) -> dict[int, Head]:
        return {row.partition: Head(row.generation, row.position) for row in LogHead.objects.all()}

    def head(self, partition: int) -> Head | None:
        return self.heads().get(partition)

    def find(self, poll_id: int, round: int, voter_key: bytes) -> bytes | None:
        claimed = self._claims({(poll_id, voter_key)})[(poll_id, voter_key)]
        return next((c.ballot_id for c in reversed(claimed) if c.round == round), None)

    def open(self, poll_id: int, gate: Gate) -> None:
        with self._locked():
            known = self._gates({poll_id}).get(poll_id)
            if (
                known is None
                or gate.round > known.round
                or (gate.round == known.round and not known.closed_at)
            ):
                self._set_gate(poll_id, gate)

    def close(self, poll_id: int, round: int) -> list[Marker]:
        with self._locked() as now:
            gate = self._gates({poll_id}).get(poll_id)
            if gate is None or gate.round < round:
                gate = Gate(round)
            if gate.round > round:
                return []
            if not gate.closed_at:
                position = self._head_for_writing(None).position + 1
                closed_at = gate.closing_time(now)
                LogEntry.objects.create(
                    position=position, kind="close", poll_id=poll_id, round=round, at=closed_at,
                    voter_key=b"", ballot_id=b"", selection="",
                )  # fmt: skip
                LogHead.objects.filter(partition=0).update(position=position)
                gate = replace(gate, round=round, open=False, closed_at=closed_at, marker=position)
                self._set_gate(poll_id, gate)
            return [Marker(0, gate.marker, gate.closed_at)]

    def reset(self, poll_id: int, round: int) -> None:
        with self._locked():
            known = self._gates({poll_id}).get(poll_id)
            if known is None or known.round < round:
                self._set_gate(poll_id, Gate(round))

    def make(self, partition: int, head: Head) -> None:
        LogHead.objects.get_or_create(
            partition=partition, defaults={"generation": head.generation, "position": head.position}
        )

    def rebuild(self, partition: int, head: Head, gates: Mapping[int, Gate]) -> None:
        with self._locked():
            LogEntry.objects.all().delete()
            Claim.objects.all().delete()
            LogGate.objects.all().delete()
            LogHead.objects.update_or_create(
                partition=partition, defaults={"generation": head.generation, "position": head.position}
            )
            for poll_id, gate in gates.items():
                self._set_gate(poll_id, gate)

    def restore_claims(self, partition: int, claims: Iterable[tuple[int, int, bytes, bytes, str]]) -> None:
        with self._locked():
            rows = list(claims)
            known = self._claims({(poll_id, voter_key) for poll_id, _, voter_key, _, _ in rows})
            for poll_id, round_, voter_key, ballot_id, selection in rows:
                known[(poll_id, voter_key)].append(Claimed(round_, ballot_id, digest_of(selection)))
            self._write_claims(
                Claim(poll_id=poll_id, voter_key=voter_key, record=pack_claim(claimed))
                for (poll_id, voter_key), claimed in known.items()
            )

    def clock(self) -> int:
        with connection.cursor() as cursor:
            return _clock(cursor)

    def verify(self) -> None:
        """Do nothing: the operator decides how durable the database is."""

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open a transaction as the log's only writer; yield the store's time, read under the lock."""
        with sqlite_write_turn(), transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
            # A separate statement, because the statement that locks would read the clock before it waits.
            yield _clock(cursor)

    @staticmethod
    def _head_for_writing(expected: Head | None) -> Head:
        row = LogHead.objects.filter(partition=0).first()
        head = Head(row.generation, row.position) if row else None
        if head is None or (expected and not head.continues(expected.generation, expected.position)):
            raise LogInconsistent()
        return head

    @staticmethod
    def _entry(position: int, ballot: NewBallot, claimed: list[Claimed], round_: int, now: int) -> LogEntry:
        current = next((c for c in reversed(claimed) if c.round == round_), None)
        return LogEntry(
            position=position,
            kind="ballot",
            poll_id=ballot.poll_id,
            round=round_,
            at=now,
            voter_key=ballot.voter_key,
            ballot_id=ballot.ballot_id,
            selection=ballot.selection,
            replaces=current.ballot_id if current else None,
            quarantine_rule=ballot.quarantine_rule,
        )

    @staticmethod
    def _gates(poll_ids: set[int]) -> dict[int, Gate]:
        rows = LogGate.objects.filter(poll_id__in=poll_ids).values_list("poll_id", "packed")
        return {poll_id: Gate.unpack(packed) for poll_id, packed in rows}

    @staticmethod
    def _set_gate(poll_id: int, gate: Gate) -> None:
        LogGate.objects.update_or_create(poll_id=poll_id, defaults={"packed": gate.pack()})

    @staticmethod
    def _claims(voters: set[tuple[int, bytes]]) -> dict[tuple[int, bytes], list[Claimed]]:
        claims: dict[tuple[int, bytes], list[Claimed]] = {voter: [] for voter in voters}
        by_poll: dict[int, list[bytes]] = defaultdict(list)
        for poll_id, voter_key in voters:
            by_poll[poll_id].append(voter_key)
        for poll_id, keys in by_poll.items():
            for i in range(0, len(keys), _CHUNK):
                rows = Claim.objects.filter(poll_id=poll_id, voter_key__in=keys[i : i + _CHUNK])
                for voter, record in rows.values_list("voter_key", "record"):
                    claims[(poll_id, bytes(voter))] = unpack_claim(bytes(record))
        return claims

    @staticmethod
    def _write_claims(claims: Iterable[Claim]) -> None:
        Claim.objects.bulk_create(
            claims,
            update_conflicts=True,
            unique_fields=["poll_id", "voter_key"],
            update_fields=["record"],
        )


def _appended_together(row: LogEntry) -> tuple[str, int, int, int, str, int]:
    # Markers also have their position in the key, so that each becomes a block of its own.
    return (
        row.kind,
        row.poll_id,
        row.round,
        row.at,
        row.quarantine_rule,
        row.position if row.kind == "close" else 0,
    )


def _block(rows: Sequence[LogEntry]) -> Block:
    first = rows[0]
    if first.kind == "close":
        return Block(first.position, "close", first.poll_id, first.round, first.at)
    replaces = [bytes(row.replaces) if row.replaces is not None else None for row in rows]
    return Block(
        first.position,
        "ballot",
        first.poll_id,
        first.round,
        first.at,
        [bytes(row.voter_key) for row in rows],
        [bytes(row.ballot_id) for row in rows],
        [row.selection for row in rows],
        replaces if any(replaces) else None,
        first.quarantine_rule,
    )


def _clock(cursor: Any) -> int:
    if connection.vendor == "postgresql":
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    else:
        # julianday returns days as a float, so its milliseconds have to be rounded.
        cursor.execute("SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)")
    return int(cursor.fetchone()[0])
