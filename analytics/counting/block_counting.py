"""Count blocks of ballots: ledger, tally and dead letters, in the transaction that is under way."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from analytics.counting import circuit_breaker, ledger, tally_deltas
from analytics.counting.circuit_breaker import FailureCounts
from analytics.counting.quarantine_assignment import find_decisions
from analytics.counting.validation import Failure, Validator
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
) -> tuple[FailureCounts, set[int]]:
    """Ledger, tally and dead letters of these ballots, in the transaction that is under way.

    Returns what came of them, and which of their polls have tallies that move in steps. Halting where most
    ballots of a poll fail, unless that is wanted; what was done has to be undone then.
    """
    check = circuit_breaker.count_failures if let_fail else circuit_breaker.check
    validator = Validator({(block.poll_id, block.round) for block in blocks}, generation)
    plain, others = validator.split(blocks)
    good, failures = validator.check_each(others)
    if failures:
        check(partition, blocks, failures)
    # At once: a ballot that replaces one of these looks for it there.
    _add_dead_letters(partition, failures)
    refused = _write(partition, validator, plain, good, standing_exist=watch)
    failure_counts = check(partition, blocks, [*failures, *refused])
    _add_dead_letters(partition, refused)
    return failure_counts, validator.stepped_polls


def count_held(partition: int, blocks: Sequence[Block], *, let_fail: bool) -> None:
    """Count ballots of a halted poll. Needs every partition's lock."""
    count_blocks(partition, blocks, let_fail=let_fail)


def count_entry(partition: int, entry: Entry) -> str:
    """Count one entry that was set aside; the reason where it still can't be. Needs the partition's lock."""
    validator = Validator({(entry.poll_id, entry.round)})
    good, failures = validator.check_each([entry])
    failures += _write(partition, validator, [], good)
    return " ".join(f"{reason} {detail}".strip() for _, reason, detail in failures)


def _write(
    partition: int,
    validator: Validator,
    plain: Sequence[Block],
    others: Sequence[Entry],
    *,
    standing_exist: bool = True,
) -> list[Failure]:
    """Valid ballots into ledger and tally; those for which the ledger has no place."""
    decisions = find_decisions([*plain, *others], standing_exist=standing_exist)
    collapsed, seconds = ledger.collapse(others, decisions)
    written = ledger.write(decisions.group(plain), collapsed)
    tally_deltas.add(partition, tally_deltas.tally_delta(written, validator))
    return [(entry, "already_counted", "") for entry in (*seconds, *written.refused)]


def _add_dead_letters(partition: int, failures: Sequence[Failure]) -> None:
    for entry, reason, _detail in failures:
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
        for entry, reason, detail in failures
    )


def _storable(text: str) -> str:
    """What set an entry aside may be that it isn't text; it must not stop the rest."""
    return text.replace("\0", "\ufffd")[:400]
