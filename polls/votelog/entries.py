"""The contents of a vote log: entries, blocks of entries, closing markers, and the head of each partition."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

#: The selection of a ballot whose entry can't be read. No method accepts it.
UNREADABLE = "\ufffd"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log: a ballot, or the marker that closes a round in this partition."""

    position: int
    kind: Literal["ballot", "close"]
    poll_id: int
    round: int
    at: int
    voter_key: bytes = b""
    ballot_id: bytes = b""
    selection: str = ""
    replaces: bytes | None = None
    quarantine_rule: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Entries of one poll and round that were appended together, at consecutive positions and the same time.

    Counting works on these columns, because an object per ballot would be too slow for millions of ballots.
    `quarantine_rule` names the rule that quarantines all of them, if any. A closing marker is a block without
    ballots, at position `first`.
    """

    first: int
    kind: Literal["ballot", "close"]
    poll_id: int
    round: int
    at: int
    voter_keys: Sequence[bytes] = ()
    ballot_ids: Sequence[bytes] = ()
    selections: Sequence[str] = ()
    replaces: Sequence[bytes | None] | None = None  # None: no ballot of the block replaces one
    quarantine_rule: str = ""

    def __len__(self) -> int:
        return len(self.voter_keys) if self.kind == "ballot" else 1

    @property
    def last(self) -> int:
        return self.first + len(self) - 1

    def after(self, position: int) -> Block:
        """Return the part of the block after `position`."""
        cut = position + 1 - self.first
        if cut <= 0:
            return self
        return Block(
            self.first + cut,
            self.kind,
            self.poll_id,
            self.round,
            self.at,
            self.voter_keys[cut:],
            self.ballot_ids[cut:],
            self.selections[cut:],
            self.replaces[cut:] if self.replaces else None,
            self.quarantine_rule,
        )

    def entries(self) -> list[Entry]:
        """Return the block's entries as objects."""
        if self.kind == "close":
            return [Entry(self.first, "close", self.poll_id, self.round, self.at)]
        replaces = self.replaces or [None] * len(self)
        return [
            Entry(position, "ballot", self.poll_id, self.round, self.at, *ballot, self.quarantine_rule)
            for position, ballot in enumerate(
                zip(self.voter_keys, self.ballot_ids, self.selections, replaces, strict=True), self.first
            )
        ]


def entries_of(blocks: Iterable[Block]) -> list[Entry]:
    return [entry for block in blocks for entry in block.entries()]


@dataclass(frozen=True, slots=True)
class Marker:
    """The end of a round in a partition: no ballot of the round is after `position`."""

    partition: int
    position: int
    closed_at: int


@dataclass(frozen=True, slots=True)
class Head:
    """A partition's generation (random, chosen when it was created) and the position of its last entry.

    trimmed: entries up to this position may have been deleted. `trimmed` is always 0 in the database's log,
    which is backed up and restored together with the counts.
    """

    generation: str
    position: int
    trimmed: int = 0

    def continues(self, generation: str, position: int) -> bool:
        """Whether the log has this generation and reaches `position`, which an older copy wouldn't."""
        return self.generation == generation and self.position >= position

    def was_counted(self, generation: str, counted: int) -> bool:
        """Whether the log of this head was counted up to `counted`, and still has all later entries."""
        return self.continues(generation, counted) and not self.trimmed_past(counted)

    def trimmed_past(self, counted: int) -> bool:
        """Whether entries after `counted` have been deleted. If so, the database is older than the log."""
        return self.trimmed > counted


def partition_of(poll_id: int, voter_key: bytes, partitions: int) -> int:
    """Return the partition of a voter's ballots. A voter has only one, so the ballots stay in order."""
    if partitions == 1:
        return 0
    # A voter_key is a keyed hash and differs in each poll, so a cheap checksum spreads well.
    return zlib.crc32(voter_key, poll_id & 0xFFFFFFFF) % partitions
