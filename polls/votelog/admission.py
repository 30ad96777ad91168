"""Which ballots the vote log accepts: the poll's gate, the voter's claim, and the decision on a ballot."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

ACCEPTED = "accepted"

#: At most this many ballots are in a voter's claim, so that a claim can't grow without end. In a poll where
#: voters may change their ballot, a retry of one of them gets the same receipt.
REMEMBERED_BALLOTS = 32


class NewBallot(msgspec.Struct, frozen=True, gc=False):
    """A valid ballot to append. An object is created per cast, so the class is a fast Struct."""

    poll_id: int
    voter_key: bytes  # 16 bytes
    ballot_id: bytes  # 16 bytes, a UUID
    selection: str  # as the poll's method stores it (Method.check)
    round: int | None = None  # the round the voter saw; None: the current one
    replaces: bytes | None = None  # the ballot_id of the ballot to replace
    quarantine_rule: str = ""  # the rule that quarantines this ballot, if any
    rate_limit_keys: tuple[bytes, ...] = ()  # see polls.votelog.rate_limits.keys_of_cast
    receipt_format: int = 2  # a polls.models.ReceiptFormat; not written to the log


@dataclass(frozen=True, slots=True)
class Outcome:
    """The log's answer for one ballot. `code` is "accepted" or a code of polls.errors; see VoteLog.append.

    round: the round of an accepted ballot. If the ballot_id is repeated, it may be an earlier round.
    """

    code: str
    round: int = 0
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """A poll's gate: whether and when it is open, for which round, and whether voters may change ballots."""

    round: int
    open: bool = False
    revote: bool = False
    opens_at: int = 0  # 0: no limit
    closes_at: int = 0
    closed_at: int = 0  # 0: not closed
    marker: int = 0  # position of the closing marker
    expected: int = 0  # about how many voters to make room for; 0: unknown

    def admits(self, now: int) -> bool:
        return self.open and now >= self.opens_at and not (self.closes_at and now >= self.closes_at)

    def closing_time(self, now: int) -> int:
        """Return when a close at `now` takes effect: at the scheduled end if that has passed, else now."""
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
class Claimed:
    """A ballot in a voter's claim. The last ballot of a round is the voter's current one."""

    round: int
    ballot_id: bytes
    digest: bytes


@functools.lru_cache(4096)
def digest_of(selection: str) -> bytes:
    """Hash a selection for the claim, to distinguish a retry from a reused ballot_id.

    Four bytes are enough to notice a client's mistake, and nobody gains from a collision.
    """
    return hashlib.blake2b(selection.encode("utf-8", "surrogatepass"), digest_size=8).digest()[:4]


def decide(gate: Gate | None, claimed: Sequence[Claimed], ballot: NewBallot, now: int) -> Outcome:
    """Decide on one ballot. The Redis Function does the same in Lua. If you change one, change both."""
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
        # The voter's first ballot in this round; `replaces` is ignored.
        return Outcome(ACCEPTED, gate.round)
    if gate.revote and ballot.replaces == current.ballot_id:
        return Outcome(ACCEPTED, gate.round)
    return Outcome("already_voted")


_CLAIMED_BYTES = 2 + 16 + 4


def pack_claim(claimed: Sequence[Claimed]) -> bytes:
    """Pack a voter's claim for storage: 22 bytes per ballot (round, ballot_id, digest), oldest first."""
    return b"".join(
        c.round.to_bytes(2, "big") + c.ballot_id + c.digest for c in claimed[-REMEMBERED_BALLOTS:]
    )


def unpack_claim(record: bytes) -> list[Claimed]:
    return [
        Claimed(int.from_bytes(item[:2], "big"), item[2:18], item[18:])
        for item in (record[i : i + _CLAIMED_BYTES] for i in range(0, len(record), _CLAIMED_BYTES))
    ]
