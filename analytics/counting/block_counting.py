"""Count blocks of ballots into ledger, tally and dead letters, within the caller's transaction."""

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
    """Count these ballots. Return the failures by poll, and the ids of the polls with stepped results.

    The caller holds the lock of the partition's checkpoint. Unless `let_fail`, raise TooManyFailures if most
    ballots of a poll fail; the caller must then roll back. With `watch`, look for standing quarantine
    decisions.
    """
    check = circuit_breaker.count_failures if let_fail else circuit_breaker.check
    validator = Validator({(block.poll_id, block.round) for block in blocks}, generation)
    plain, others = validator.split(blocks)
    good, failures = validator.check_each(others)
    if failures:
        check(partition, blocks, failures)
    # Add dead letters before the ledger is written. A ballot that replaces a failed ballot must find it among
    # the dead letters.
    _add_dead_letters(partition, failures)
    refused = _write(partition, validator, plain, good, watch=watch)
    failure_counts = check(partition, blocks, [*failures, *refused])
    _add_dead_letters(partition, refused)
    return failure_counts, validator.stepped_polls


def count_entry(partition: int, entry: Entry) -> str:
    """Count the ballot of a dead letter, under the checkpoint's lock. Return why the ballot fails, or ""."""
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
    watch: bool = True,
) -> list[Failure]:
    """Write valid ballots to ledger and tally. Return the ballots that the ledger refused."""
    decisions = find_decisions([*plain, *others], watch=watch)
    latest, refused = ledger.collapse(others, decisions)
    written = ledger.write(decisions.group(plain), latest)
    tally_deltas.add(partition, tally_deltas.tally_delta(written, validator))
    return [(entry, "already_counted", "") for entry in (*refused, *written.refused)]


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
            quarantine_rule=entry.quarantine_rule[:20],
            accepted_at=from_milliseconds(entry.at) if entry.at else None,
            reason=reason,
            detail=detail,
        )
        for entry, reason, detail in failures
    )


def _storable(text: str) -> str:
    """Cut the text to the column's length, and remove NUL, which PostgreSQL refuses."""
    return text.replace("\0", "\ufffd")[:400]
