"""Read a poll's state directly from the stores, and recount it without any code of the product."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.faults.harness import Harness, head_of


@dataclass
class StoredState:
    """One round of one poll. Selections are texts such as "3", and ballot_ids are UUIDs with dashes."""

    state: str = ""
    result: dict[str, Any] | None = None
    ledger: dict[str, tuple[str, str]] = field(default_factory=dict)  # ballot_id: voter_key, selection
    quarantined: set[str] = field(default_factory=set)  # the ledger's quarantined ballots
    rows: int = 0  # the number of the ledger's rows
    letters: dict[str, tuple[str, str]] = field(default_factory=dict)  # ballot_id: voter_key, reason
    tally: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)

    def recount(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for ballot_id, (_, selection) in self.ledger.items():
            if ballot_id not in self.quarantined:
                counts.update(["ballots", *selection.split(",")])
        return counts

    @property
    def without_quarantine(self) -> dict[str, Counter[str]]:
        """Return the tally and the history without the counts of quarantined ballots."""
        return {
            name: Counter({key: count for key, count in counts.items() if count and ":" not in key})
            for name, counts in (("tally", self.tally), ("history", self.points))
        }


def _uuid(value: bytes) -> str:
    digits = bytes(value).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def read_stored_state(harness: Harness, code: str, round_: int = 1) -> StoredState:
    stored = StoredState()
    with harness.connect() as database:
        poll, stored.state = _one(database, "SELECT id, state FROM polls_poll WHERE code = %s", code)
        where = (poll, round_)
        found = _one(database, "SELECT result FROM polls_round WHERE poll_id = %s AND number = %s", *where)
        stored.result = _json(found[0]) if found else None
        rows = database.execute(
            "SELECT ballot_id, voter_key, selection, quarantine_id FROM polls_ballot"
            " WHERE poll_id = %s AND round = %s",
            where,
        )
        for ballot_id, voter_key, selection, quarantine in rows:
            stored.rows += 1
            stored.ledger[_uuid(ballot_id)] = (bytes(voter_key).hex(), selection)
            if quarantine is not None:
                stored.quarantined.add(_uuid(ballot_id))
        letters = database.execute(
            "SELECT ballot_id, voter_key, reason FROM polls_deadletter WHERE poll_id = %s AND round = %s",
            where,
        )
        stored.letters = {_uuid(ballot_id): (bytes(key).hex(), reason) for ballot_id, key, reason in letters}
        for table, counts in (("analytics_tally", stored.tally), ("analytics_tallypoint", stored.points)):
            sums = database.execute(
                f"SELECT key, SUM(count) FROM {table} WHERE poll_id = %s AND round = %s GROUP BY key", where
            )
            counts.update({key: int(total) for key, total in sums})
    return stored


def backlog(harness: Harness) -> int:
    """Return how many log entries aren't counted yet: the log's heads minus the database's checkpoints."""
    with harness.connect() as database, harness.redis.client() as redis:
        rows: list[Any] = database.execute("SELECT partition, position FROM analytics_checkpoint").fetchall()
        return sum(
            int(redis.hget(head_of(partition), "position") or 0) - position  # type: ignore[arg-type]
            for partition, position in rows
        )


def _one(database: Any, query: str, *values: Any) -> Any:
    return database.execute(query, values).fetchone()


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
