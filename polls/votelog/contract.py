"""The vote log's contract: what every backend promises, and the rules they share.

A vote log is a durable, append-only record of accepted ballots before they are counted,
in N partitions. A backend is synchronous and works on batches only; the append queue in
`polls.casting.log_writer` gives it a thread. Positions are integers, contiguous per partition,
starting at 1. tests/polls/votelog/contract.py is the suite that every backend passes.

Times are milliseconds since the epoch, always by the clock of the log's store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from polls.votelog.admission import Gate, NewBallot, Outcome
from polls.votelog.entries import Block, Head, Marker


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
