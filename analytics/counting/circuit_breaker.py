"""Circuit breaker: halt the counting of a poll while most of its ballots fail.

A few ballots that can't be counted become dead letters. If most ballots of a poll fail, thousands of dead
letters would hide the cause, such as lost rules. To prevent this, the failing batch and all later ballots of
the poll are held, in their order, until an operator resumes the counting. Other polls are counted as usual
(docs/decisions/circuit-breaker.md).
"""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from analytics.counting.checkpoints import lock_all_checkpoints
from analytics.counting.validation import Failure
from analytics.models import Checkpoint, Halt
from polls.audit_log import record
from polls.models import Poll
from polls.votelog.entries import Block

logger = logging.getLogger(__name__)

#: A poll halts when at least MIN_FAILURES and more than half of its ballots failed, either in one batch or
#: among the last WINDOW_BALLOTS that this worker has counted in the partition.
MIN_FAILURES = 10
WINDOW_BALLOTS = 200
_MAX_WINDOWS = 2000

#: (ballots, failures) of the last batches, by partition and poll.
_windows: dict[tuple[int, int], deque[tuple[int, int]]] = {}

BY_COUNTING = "counting"  # the actor in the audit log


class TooManyFailures(Exception):
    """Most ballots of these polls fail. The caller must roll the batch back."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class FailureCounts:
    """A batch's number of ballots, and its number of failures, by poll."""

    ballots: Counter[int]
    failures: Counter[int]


def count_failures(_partition: int, blocks: Iterable[Block], failures: Sequence[Failure]) -> FailureCounts:
    ballots: Counter[int] = Counter()
    for block in blocks:
        ballots[block.poll_id] += len(block)
    return FailureCounts(ballots, Counter(entry.poll_id for entry, _reason, _detail in failures))


def check(partition: int, blocks: Iterable[Block], failures: Sequence[Failure]) -> FailureCounts:
    """Count ballots and failures by poll. Raise TooManyFailures if most ballots of a poll fail."""
    failure_counts = count_failures(partition, blocks, failures)
    reasons = {
        poll_id: _most_common_reasons(poll_id, failures)
        for poll_id, failed in failure_counts.failures.items()
        if _most_fail(partition, poll_id, failure_counts.ballots[poll_id], failed)
    }
    if reasons:
        # Ballots of unknown polls become dead letters, however many fail.
        known = set(Poll.objects.filter(pk__in=reasons).values_list("pk", flat=True))
        if known:
            raise TooManyFailures({poll_id: reasons[poll_id] for poll_id in known})
    return failure_counts


def record_batch(partition: int, failure_counts: FailureCounts) -> None:
    for poll_id, ballots in failure_counts.ballots.items():
        if len(_windows) >= _MAX_WINDOWS:
            _windows.clear()
        window = _windows.setdefault((partition, poll_id), deque())
        window.append((ballots, failure_counts.failures[poll_id]))
        while sum(n for n, _failed in window) - window[0][0] >= WINDOW_BALLOTS:
            window.popleft()


def _most_fail(partition: int, poll_id: int, ballots: int, failed: int) -> bool:
    if failed >= MIN_FAILURES and failed * 2 > ballots:
        return True
    for earlier, earlier_failed in reversed(_windows.get((partition, poll_id), ())):
        if ballots >= WINDOW_BALLOTS:
            break
        ballots, failed = ballots + earlier, failed + earlier_failed
    return failed >= MIN_FAILURES and failed * 2 > ballots


def _most_common_reasons(poll_id: int, failures: Sequence[Failure]) -> str:
    reasons = Counter(reason for entry, reason, _detail in failures if entry.poll_id == poll_id)
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))


def halt(reasons: Mapping[int, str]) -> None:
    """Halt the polls in `reasons`. The caller stores their first held ballots in the same transaction."""
    for poll_id, reason in reasons.items():
        made = Halt.objects.bulk_create([Halt(poll_id=poll_id, reason=reason)], ignore_conflicts=True)
        logger.error("counting_halted", extra={"poll": poll_id, "reason": reason, "halts": len(made)})
        code = Poll.objects.filter(pk=poll_id).values_list("code", flat=True).first() or ""
        record(BY_COUNTING, "counting halted", code, reason=reason)
        for window in [window for window in _windows if window[1] == poll_id]:
            _windows.pop(window, None)


def watch_all_partitions() -> None:
    """Make the workers of all partitions check for halted polls."""
    if Checkpoint.objects.filter(watch=False).exists():
        with transaction.atomic():
            lock_all_checkpoints()
            Checkpoint.objects.update(watch=True)


def halted_polls(poll_ids: set[int]) -> set[int]:
    return set(Halt.objects.filter(poll_id__in=poll_ids).values_list("poll_id", flat=True))
