"""Store the ballots of halted polls until counting is resumed, in the columns they have in the vote log."""

from collections.abc import Callable, Sequence

import msgspec
from django.db.models import Sum

from analytics.models import HeldBlock
from polls.votelog.entries import Block


def hold(partition: int, blocks: Sequence[Block]) -> None:
    HeldBlock.objects.bulk_create(
        HeldBlock(
            partition=partition,
            first=block.first,
            poll_id=block.poll_id,
            round=block.round,
            at=block.at,
            ballots=len(block),
            columns=_pack(block),
        )
        for block in blocks
    )


def count_ballots(poll_id: int | None = None) -> int:
    blocks = HeldBlock.objects.all() if poll_id is None else HeldBlock.objects.filter(poll_id=poll_id)
    return blocks.aggregate(sum=Sum("ballots"))["sum"] or 0


def unpack(row: HeldBlock) -> Block:
    voter_keys, ballot_ids, selections, replaces, rule = _unpack(bytes(row.columns))
    texts = [text.decode("utf-8", "surrogatepass") for text in selections]
    return Block(
        row.first, "ballot", row.poll_id, row.round, row.at, voter_keys, ballot_ids, texts, replaces, rule
    )


_Columns = tuple[list[bytes], list[bytes], list[bytes], list[bytes | None] | None, str]
_unpack: Callable[[bytes], _Columns] = msgspec.msgpack.Decoder(_Columns).decode


def _pack(block: Block) -> bytes:
    # A selection from the log may contain characters that UTF-8 can't encode.
    selections = [text.encode("utf-8", "surrogatepass") for text in block.selections]
    replaces = list(block.replaces) if block.replaces else None
    columns = list(block.voter_keys), list(block.ballot_ids), selections, replaces, block.quarantine_rule
    return msgspec.msgpack.encode(columns)
