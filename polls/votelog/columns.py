"""Ballots as columns: the fields of an entry in the Redis stream, written and read.

p poll_id · r round · t time · n number of ballots · q the rule that quarantines them, or absent
v voter_keys, 16 bytes each · b ballot_ids, 16 bytes each
i each ballot's index in s, from 1, 16 bits, big-endian · s the distinct selections, MessagePack
x for each ballot a byte (1: it replaces one) and the replaced ballot_id; empty if none replaces one
c the time of a close: such an entry is a marker and holds no ballots
"""

import logging
import struct
from typing import Any

import msgspec

from polls.votelog.admission import ACCEPTED, NewBallot, Outcome, digest_of
from polls.votelog.entries import UNREADABLE, Block

logger = logging.getLogger(__name__)

_REPLACES_NONE = bytes(17)
_MAX_UNREADABLE_BALLOTS = 10_000  # the count in a damaged entry may be any number
_REFUSALS = {
    "B": Outcome("ballot_id_reused"),
    "N": Outcome("poll_not_open"),
    "C": Outcome("round_changed"),
    "V": Outcome("already_voted"),
    "O": Outcome("overloaded"),
}
_unpack_selections = msgspec.msgpack.Decoder(list[str]).decode


class Columns:
    """Ballots of one poll and partition, as arguments for the Redis Function."""

    __slots__ = ("ballot_ids", "indexes", "picks", "replaces", "rounds", "selections", "voters")

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.voters: list[bytes] = []
        self.ballot_ids: list[bytes] = []
        self.rounds: list[int] = []
        self.picks: list[int] = []
        self.selections: dict[str, int] = {}
        self.replaces: dict[int, bytes] = {}

    def add(self, index: int, ballot: NewBallot) -> None:
        if ballot.replaces:
            self.replaces[len(self.indexes)] = ballot.replaces
        self.indexes.append(index)
        self.voters.append(ballot.voter_key)
        self.ballot_ids.append(ballot.ballot_id)
        self.rounds.append(ballot.round or 0)
        self.picks.append(self.selections.setdefault(ballot.selection, len(self.selections) + 1))

    def arguments(self, poll_id: int) -> list[Any]:
        count = len(self.indexes)
        replaces = b""
        if self.replaces:
            replaced = (self.replaces.get(i) for i in range(count))
            replaces = b"".join(b"\1" + ballot_id if ballot_id else _REPLACES_NONE for ballot_id in replaced)
        return [
            poll_id,
            b"".join(self.voters),
            b"".join(self.ballot_ids),
            struct.pack(f">{count}H", *self.rounds),
            struct.pack(f">{count}H", *self.picks),
            b"".join(map(digest_of, self.selections)),
            msgspec.msgpack.encode([*self.selections]),
            replaces,
        ]

    def set_outcomes(self, outcomes: list[Outcome], letters: str, round: int, repeated: str) -> None:
        """Translate the Function's verdicts into `outcomes`, at the ballots' indexes."""
        accepted = Outcome(ACCEPTED, round)
        rounds = iter(repeated.split(","))
        for index, letter in zip(self.indexes, letters, strict=True):
            if letter == "A":
                outcomes[index] = accepted
            elif letter == "R":
                outcomes[index] = Outcome(ACCEPTED, int(next(rounds)), repeated=True)
            else:
                outcomes[index] = _REFUSALS[letter]

    def set_all(self, outcomes: list[Outcome], outcome: Outcome) -> None:
        """Set the outcome of all these ballots."""
        for index in self.indexes:
            outcomes[index] = outcome


def _split(column: bytes, size: int) -> list[bytes]:
    return [column[i : i + size] for i in range(0, len(column), size)]


def parse_entry(entry_id: bytes, fields: dict[bytes, bytes], after: int) -> Block:
    """Parse an entry; a damaged one becomes a block of the same size with unreadable ballots.

    Unreadable ballots become dead letters, so that a damaged entry doesn't stop the counting of later ones.
    """
    try:
        return _block(entry_id, fields)
    except (ValueError, KeyError, IndexError, TypeError, struct.error, msgspec.MsgspecError):
        last = int(entry_id.partition(b"-")[0])
        logger.error("unreadable_entry", extra={"position": last})
        return _unreadable_block(last, fields, after)


def _unreadable_block(last: int, fields: dict[bytes, bytes], after: int) -> Block:
    # The previous entry ended at `after`. If the previous entry was trimmed, use this entry's own count.
    count = _number(fields.get(b"n")) if last - after > _MAX_UNREADABLE_BALLOTS else last - after
    count = min(max(count, 1), _MAX_UNREADABLE_BALLOTS)
    poll_id, round_ = _number(fields.get(b"p")), min(_number(fields.get(b"r")), 32_767)
    voters, ballot_ids = (_split_or_zeros(fields.get(name, b""), count) for name in (b"v", b"b"))
    first, unknown = last - count + 1, [UNREADABLE] * count
    return Block(first, "ballot", poll_id, round_, _number(fields.get(b"t")), voters, ballot_ids, unknown)


def _number(text: bytes | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 16 else 0


def _split_or_zeros(column: bytes, count: int) -> list[bytes]:
    return _split(column, 16) if len(column) == 16 * count else [bytes(16)] * count


def _block(entry_id: bytes, fields: dict[bytes, bytes]) -> Block:
    last = int(entry_id.partition(b"-")[0])
    poll_id, round_ = int(fields[b"p"]), int(fields[b"r"])
    if b"c" in fields:
        return Block(last, "close", poll_id, round_, int(fields[b"c"]))
    count, replaces = int(fields[b"n"]), fields[b"x"]
    if not len(fields[b"v"]) == len(fields[b"b"]) == 16 * count > 0:
        raise ValueError("The columns have different lengths.")
    if replaces and len(replaces) != 17 * count:
        raise ValueError("The column of replaced ballots has the wrong length.")
    selections = ["", *_unpack_selections(fields[b"s"])]
    return Block(
        last - count + 1,
        "ballot",
        poll_id,
        round_,
        int(fields[b"t"]),
        _split(fields[b"v"], 16),
        _split(fields[b"b"], 16),
        [selections[pick] for pick in struct.unpack(f">{count}H", fields[b"i"])],
        [piece[1:] if piece[0] else None for piece in _split(replaces, 17)] if replaces else None,
        fields.get(b"q", b"").decode(),
    )
