"""The vote log's contract: what every backend promises, and the rules they share.

A vote log is a durable, append-only record of accepted ballots before they are counted,
in N partitions. A backend is synchronous and works on batches only; the coalescer in
`polls.casting.ballot_box` gives it a thread. Positions are integers, contiguous per partition,
starting at 1. tests/polls/votelog/contract.py is the suite that every backend passes.

Times are milliseconds since the epoch, always by the clock of the log's store.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

ACCEPTED = "accepted"

#: The selection of a ballot whose entry can't be read: no method knows such a one.
UNREADABLE = "\ufffd"

#: A voter's earlier ballot_ids that the log still answers with the same receipt, where the poll
#: lets voters change their mind. A bound, so that one voter can't make a claim grow for ever.
REMEMBERED_BALLOTS = 32


class NewBallot(msgspec.Struct, frozen=True, gc=False):
    """A valid ballot on its way into the log. One is made for every cast, hence a Struct."""

    poll_id: int
    voter_key: bytes  # 16 bytes
    ballot_id: bytes  # 16 bytes, a UUID
    selection: str  # as `polls.methods.encode` writes it
    round: int | None = None  # the round the voter saw; None: whichever is on
    replaces: bytes | None = None  # the ballot_id that this one takes the place of
    aside: str = ""  # the rule by which it is to count apart (in quarantine), if any
    counted_as: tuple[bytes, ...] = ()  # by what rate limits know it: see polls.votelog.rate_limits


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one ballot: `code` is "accepted" or that of a polls.errors class; see VoteLog.append.

    For an accepted ballot `round` is the one it belongs to, which for a repeated
    ballot_id may be an earlier one.
    """

    code: str
    round: int = 0
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log: a ballot, or the marker that closes a round in this partition."""

    position: int
    kind: Literal["ballot", "close"]
    poll_id: int
    round: int
    at: int
    voter_key: bytes = b""
    ballot_id: bytes = b""
    selection: str = ""
    replaces: bytes | None = None
    aside: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Entries of one poll and round that came into the log together: consecutive positions, one time.

    `aside` names the rule by which all of them count apart, in quarantine; mostly there is none.
    What counts millions of ballots works on these columns, not on an object for each of
    them. A closing marker is a block without ballots, at position `first`.
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
    aside: str = ""

    def __len__(self) -> int:
        return len(self.voter_keys) if self.kind == "ballot" else 1

    @property
    def last(self) -> int:
        return self.first + len(self) - 1

    def behind(self, position: int) -> Block:
        """The part of the block that lies behind `position`."""
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
            self.aside,
        )

    def entries(self) -> list[Entry]:
        """The block's entries one by one, for whoever looks at few of them."""
        if self.kind == "close":
            return [Entry(self.first, "close", self.poll_id, self.round, self.at)]
        replaces = self.replaces or [None] * len(self)
        return [
            Entry(position, "ballot", self.poll_id, self.round, self.at, *ballot, aside=self.aside)
            for position, ballot in enumerate(
                zip(self.voter_keys, self.ballot_ids, self.selections, replaces, strict=True), self.first
            )
        ]


def entries_of(blocks: Iterable[Block]) -> list[Entry]:
    return [entry for block in blocks for entry in block.entries()]


@dataclass(frozen=True, slots=True)
class Gate:
    """Per poll: is it open, for which round, in which window, and may voters change their ballot."""

    round: int
    open: bool = False
    revote: bool = False
    opens_at: int = 0  # 0: no bound
    closes_at: int = 0
    closed_at: int = 0  # 0: not closed
    marker: int = 0  # position of the closing marker
    expected: int = 0  # about how many voters to make room for; 0: nobody knows

    def admits(self, now: int) -> bool:
        return self.open and now >= self.opens_at and not (self.closes_at and now >= self.closes_at)

    def closing_time(self, now: int) -> int:
        """When a closing that runs at `now` took effect: not later than the scheduled end."""
        return min(now, self.closes_at) if self.closes_at else now

    def pack(self) -> str:
        return (
            f"{self.round}|{self.open:d}|{self.revote:d}|{self.opens_at}|{self.closes_at}"
            f"|{self.closed_at}|{self.marker}|{self.expected}"
        )

    @classmethod
    def unpack(cls, text: str) -> Gate:
        round_, is_open, revote, *times = map(int, text.split("|"))
        return cls(round_, bool(is_open), bool(revote), *times)


@dataclass(frozen=True, slots=True)
class Marker:
    """Where a round ends in one partition: everything after `position` came too late."""

    partition: int
    position: int
    closed_at: int


@dataclass(frozen=True, slots=True)
class Head:
    """A partition's generation (random, made with the log) and the position of its last entry.

    `trimmed`: entries up to this position may be gone from the log. 0 in a log that is part of the database,
    with which it is restored.
    """

    generation: str
    position: int
    trimmed: int = 0

    def continues(self, generation: str, position: int) -> bool:
        """Whether this is the head of that same log, and not of an older copy of it."""
        return self.generation == generation and self.position >= position

    def lacks(self, counted: int) -> bool:
        """Whether entries behind `counted` are gone: the database is an older copy than the log."""
        return self.trimmed > counted


@dataclass(frozen=True, slots=True)
class Claimed:
    """One ballot that a voter's claim remembers; the last of a round is the current one."""

    round: int
    ballot_id: bytes
    digest: bytes


class VoteLog(Protocol):
    """A vote log backend. Every method may raise the store's own errors; see `append` for what they mean."""

    name: str
    partitions: int

    def append(self, ballots: Sequence[NewBallot], expected: Mapping[int, Head]) -> list[Outcome]:
        """Decide each ballot and write the accepted ones, durably; each one's outcome, in the order given.

        Atomic per partition, and decided in this order: ballot_id known for this voter; the
        gate's round; the gate open, by the store's clock; the voter's claim (see `decide`);
        room in the backlog (settings.BACKLOG_LIMIT). `expected` has, per partition, the generation
        and the highest position known to be counted: a partition that is foreign, emptied or behind
        takes nothing.

        An outcome speaks for its own ballot. `log_inconsistent`, `overloaded` and `unavailable` say
        that this call has not written it, `outcome_unknown` that it may have, whatever became of
        the others. An exception leaves the outcome of all unknown. Appending the same ballots
        again settles what is unknown.

        On the way the casts are counted for the rate limits (see polls.votelog.rate_limits).
        """
        ...

    def salt(self) -> tuple[bytes, float]:
        """What addresses are hashed with before they are counted, and for how many seconds from now."""
        ...

    def read(self, partition: int, after: int, limit: int) -> list[Block]:
        """Entries behind `after`, in order: `limit` of them, and whatever else is in their blocks."""
        ...

    def trim(self, partition: int, upto: int) -> None:
        """Forget entries up to position `upto`, block by whole block; claims and gates stay."""
        ...

    def forget(self, poll_id: int, counted: Mapping[int, int]) -> None:
        """Destroy the poll's claims, and its ballots up to the position per partition in `counted`.

        For a poll whose gate is shut: its voters are new ones afterwards. Gates, markers and positions stay.
        """
        ...

    def heads(self) -> dict[int, Head]:
        """The head of each partition that exists."""
        ...

    def head(self, partition: int) -> Head | None:
        """The head of one partition, if it exists."""
        ...

    def find(self, poll_id: int, round: int, voter_key: bytes) -> bytes | None:
        """The ballot_id that this voter's claim holds in this round."""
        ...

    def open(self, poll_id: int, gate: Gate) -> None:
        """Let ballots of `gate.round` in. No effect where that round was closed or a later one is on."""
        ...

    def close(self, poll_id: int, round: int) -> list[Marker]:
        """Shut the gates and append a marker to each partition; idempotent."""
        ...

    def reset(self, poll_id: int, round: int) -> None:
        """Make `round` the current one, not open yet. No effect where it, or a later one, is on."""
        ...

    def make(self, partition: int, head: Head) -> None:
        """Make partition's head where it has none; one that exists is left alone."""
        ...

    def rebuild(self, partition: int, head: Head, gates: Mapping[int, Gate]) -> None:
        """Start the partition anew at `head` with these gates, without entries and claims."""
        ...

    def restore_claims(self, partition: int, claims: Iterable[tuple[int, int, bytes, bytes, str]]) -> None:
        """Put back the claims of counted ballots: (poll_id, round, voter_key, ballot_id, selection)."""
        ...

    def clock(self) -> int:
        """The store's time, which gates go by."""
        ...

    def verify(self) -> None:
        """Raise LogUnsuitable, with a hint, where the store doesn't keep the log's promises."""
        ...


def partition_of(poll_id: int, voter_key: bytes, partitions: int) -> int:
    """Where a voter's ballots of a poll go: a hot poll spreads, one voter's stay in order."""
    if partitions == 1:
        return 0
    # A voter_key is a keyed hash, another one in each poll: all this has to do is to mix its bits.
    return zlib.crc32(voter_key, poll_id & 0xFFFFFFFF) % partitions


@functools.lru_cache(4096)
def digest_of(selection: str) -> bytes:
    """What a claim keeps of a ballot's content, to tell a repetition from a reused ballot_id.

    Four bytes: it has to notice a client's mistake, and nobody gains by deceiving it.
    """
    return hashlib.blake2b(selection.encode("utf-8", "surrogatepass"), digest_size=8).digest()[:4]


def decide(gate: Gate | None, claimed: Sequence[Claimed], ballot: NewBallot, now: int) -> Outcome:
    """The verdict on one ballot. The Redis Function says the same in Lua; keep them alike."""
    for known in claimed:
        if known.ballot_id == ballot.ballot_id:
            same = known.digest == digest_of(ballot.selection) and ballot.round in (None, known.round)
            return Outcome(ACCEPTED, known.round, repeated=True) if same else Outcome("ballot_id_reused")
    if gate is None:
        return Outcome("poll_not_open")
    if ballot.round is not None and ballot.round != gate.round:
        return Outcome("round_changed")
    if not gate.admits(now):
        return Outcome("poll_not_open")
    current = next((c for c in reversed(claimed) if c.round == gate.round), None)
    if current is None:
        # Nothing of this round to replace: the ballot counts as a first one.
        return Outcome(ACCEPTED, gate.round)
    if gate.revote and ballot.replaces == current.ballot_id:
        return Outcome(ACCEPTED, gate.round)
    return Outcome("already_voted")


_CLAIMED_BYTES = 2 + 16 + 4


def pack_claim(claimed: Sequence[Claimed]) -> bytes:
    """A voter's claim as stored: 22 bytes a ballot (round, ballot_id, digest), oldest first."""
    return b"".join(
        c.round.to_bytes(2, "big") + c.ballot_id + c.digest for c in claimed[-REMEMBERED_BALLOTS:]
    )


def unpack_claim(record: bytes) -> list[Claimed]:
    return [
        Claimed(int.from_bytes(item[:2], "big"), item[2:18], item[18:])
        for item in (record[i : i + _CLAIMED_BYTES] for i in range(0, len(record), _CLAIMED_BYTES))
    ]
