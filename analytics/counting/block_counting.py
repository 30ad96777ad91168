"""Count blocks of ballots: ledger, tally and dead letters, in the transaction that is under way."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from analytics.counting import circuit_breaker, ledger, tally_deltas
from analytics.counting.circuit_breaker import Verdicts
from analytics.counting.quarantine_assignment import decisions_for
from analytics.counting.validation import Judge, Misfit
from polls.models import DeadLetter
from polls.text.timestamps import from_milliseconds
from polls.votelog.entries import Block, Entry

logger = logging.getLogger(__name__)


def count_blocks(
    partition: int,
    blocks: Sequence[Block],
    generation: str = "",
    *,
    watch: bool = True,
    let_fail: bool = False,
) -> tuple[Verdicts, set[int]]:
    """Ledger, tally and dead letters of these ballots, in the transaction that is under way.

    Returns what came of them, and which of their polls have tallies that move in steps. Halting where most
    ballots of a poll fail, unless that is wanted; what was done has to be undone then.
    """
    check = circuit_breaker.count_only if let_fail else circuit_breaker.check
    judge = Judge({(block.poll_id, block.round) for block in blocks}, generation)
    plain, others = judge.sort(blocks)
    good, misfits = judge.divide(others)
    if misfits:
        check(partition, blocks, misfits)
    # At once: a ballot that replaces one of these looks for it there.
    _set_aside(partition, misfits)
    refused = _book(partition, judge, plain, good, look=watch)
    verdicts = check(partition, blocks, [*misfits, *refused])
    _set_aside(partition, refused)
    return verdicts, judge.stepped_polls


def count_held(partition: int, blocks: Sequence[Block], *, let_fail: bool) -> None:
    """Count ballots of a halted poll. Needs every partition's lock."""
    count_blocks(partition, blocks, let_fail=let_fail)


def count_entry(partition: int, entry: Entry) -> str:
    """Count one entry that was set aside; the reason where it still can't be. Needs the partition's lock."""
    judge = Judge({(entry.poll_id, entry.round)})
    good, misfits = judge.divide([entry])
    misfits += _book(partition, judge, [], good)
    return " ".join(f"{reason} {detail}".strip() for _, reason, detail in misfits)


def _book(
    partition: int, judge: Judge, plain: Sequence[Block], others: Sequence[Entry], *, look: bool = True
) -> list[Misfit]:
    """Valid ballots into ledger and tally; those for which the ledger has no place."""
    decisions = decisions_for([*plain, *others], look=look)
    collapsed, seconds = ledger.collapse(others, decisions)
    written = ledger.write(decisions.group(plain), collapsed)
    tally_deltas.add(partition, tally_deltas.delta_of(written, judge))
    return [(entry, "already_counted", "") for entry in (*seconds, *written.refused)]


def _set_aside(partition: int, misfits: Sequence[Misfit]) -> None:
    for entry, reason, _detail in misfits:
        logger.error(
            "dead_letter", extra={"poll": entry.poll_id, "position": entry.position, "reason": reason}
        )
    DeadLetter.objects.bulk_create(
        DeadLetter(
            partition=partition,
            position=entry.position,
            poll_id=entry.poll_id,
            round=entry.round,
            voter_key=entry.voter_key,
            ballot_id=entry.ballot_id,
            selection=_storable(entry.selection),
            replaces=entry.replaces,
            aside=entry.aside[:20],
            accepted_at=from_milliseconds(entry.at) if entry.at else None,
            reason=reason,
            detail=detail,
        )
        for entry, reason, detail in misfits
    )


def _storable(text: str) -> str:
    """What set an entry aside may be that it isn't text; it must not stop the rest."""
    return text.replace("\0", "\ufffd")[:400]
