"""Which ballots the vote log accepts: the gate, the voter's claim, and the verdict on a ballot."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

ACCEPTED = "accepted"

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
    quarantine_rule: str = ""  # the rule by which it is to count apart (in quarantine), if any
    rate_limit_keys: tuple[bytes, ...] = ()  # by what rate limits know it: see polls.votelog.rate_limits


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
class Claimed:
    """One ballot that a voter's claim remembers; the last of a round is the current one."""

    round: int
    ballot_id: bytes
    digest: bytes


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
