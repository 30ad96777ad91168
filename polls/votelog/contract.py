"""The interface of a vote log: what every backend promises.

A vote log is a durable, append-only record of accepted ballots that aren't counted yet, in N partitions.
A backend is synchronous and works in batches; the append queue calls it from a thread of its own. Positions
are integers, contiguous per partition, starting at 1. Times are milliseconds since the epoch, by the clock of
the log's store. tests/polls/votelog/contract.py is the suite that every backend must pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from polls.votelog.admission import Gate, NewBallot, Outcome
from polls.votelog.entries import Block, Head, Marker


class VoteLog(Protocol):
    """A vote log backend. Every method may raise the store's errors; `append` says what they mean."""

    name: str
    partitions: int

    # --- admission: gates, claims, and the decision on each ballot ---

    def append(self, ballots: Sequence[NewBallot], expected: Mapping[int, Head]) -> list[Outcome]:
        """Decide each ballot, write the accepted ones durably, and return the outcomes in the same order.

        Atomic per partition. The checks, in this order: a known ballot_id of this voter; the gate's round;
        the gate, by the store's clock; the voter's claim (see `decide`); room in the backlog
        (settings.BACKLOG_LIMIT). `expected` has the generation of each partition and the highest position
        known to be counted. A partition accepts nothing if it isn't in `expected`, has a different
        generation, or ends before that position.

        Each outcome is about its own ballot only. After `log_inconsistent`, `overloaded` or `unavailable`,
        this call hasn't written the ballot. After `outcome_unknown`, it may have. After an exception the
        outcome of every ballot is unknown. Appending the same ballots again settles unknown outcomes.

        The casts are counted for the rate limits in the same round trip (see polls.votelog.rate_limits).
        """
        ...

    def open(self, poll_id: int, gate: Gate) -> None:
        """Open the gate for its round. No effect if that round was closed or a later one has begun."""
        ...

    def close(self, poll_id: int, round: int) -> list[Marker]:
        """Close the gates and append a marker to each partition; idempotent."""
        ...

    def reset(self, poll_id: int, round: int) -> None:
        """Make `round` the current round, not open yet. No effect if this round or a later one has begun."""
        ...

    def find(self, poll_id: int, round: int, voter_key: bytes) -> bytes | None:
        """Return the ballot_id of this voter's current ballot in this round."""
        ...

    def restore_claims(self, partition: int, claims: Iterable[tuple[int, int, bytes, bytes, str]]) -> None:
        """Restore the claims of counted ballots: (poll_id, round, voter_key, ballot_id, selection)."""
        ...

    def clock(self) -> int:
        """Return the store's time. Gates open and close by this clock."""
        ...

    # --- the log: reading, trimming, heads ---

    def read(self, partition: int, after: int, limit: int) -> list[Block]:
        """Return the entries after position `after`, in order: at least `limit`, unless fewer exist."""
        ...

    def trim(self, partition: int, upto: int) -> None:
        """Delete entries up to position `upto`, in whole blocks. Claims and gates stay."""
        ...

    def forget(self, poll_id: int, counted: Mapping[int, int]) -> None:
        """Destroy the poll's claims, and its ballots up to each partition's position in `counted`.

        The poll's gate must be closed. Afterwards the log doesn't know who has voted. Gates, markers and
        positions stay.
        """
        ...

    def heads(self) -> dict[int, Head]:
        """Return the head of each partition that exists."""
        ...

    def head(self, partition: int) -> Head | None:
        """Return the head of a partition, or None."""
        ...

    def make(self, partition: int, head: Head) -> None:
        """Create the partition's head if it has none."""
        ...

    def rebuild(self, partition: int, head: Head, gates: Mapping[int, Gate]) -> None:
        """Replace the partition by an empty one at `head`, with these gates and without claims."""
        ...

    def verify(self) -> None:
        """Raise LogUnsuitable, with a hint, if the store isn't durable enough for acknowledged ballots."""
        ...

    # --- rate limits ---

    def salt(self) -> tuple[bytes, float]:
        """Return the salt for hashes of addresses, and for how many seconds from now it is valid."""
        ...
