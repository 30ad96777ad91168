"""Polls whose ballots mostly fail while they are counted: held, and counted once somebody has looked.

A few ballots that can't be counted are dead letters. Where most of a poll's are, something else is wrong,
such as rules that were lost, and a pile of dead letters would only bury it. Then that poll's counting
halts: its entries are held, as they came from the log, in the transaction that moves the checkpoint behind
them. Other polls go on. What comes later queues behind what is held, so that the order of a voter's ballots
stays, until the last of them is counted.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from analytics.counting import held_ballots
from analytics.counting.checkpoints import lock_all_checkpoints
from analytics.counting.validation import Failure
from analytics.models import Checkpoint, Halt
from polls.audit_log import record
from polls.models import Poll
from polls.votelog.entries import Block

logger = logging.getLogger(__name__)

#: A poll halts when so many of its ballots have failed, and more than half, of the last so many that a
#: worker has judged in a partition, or of those in one batch.
MIN_FAILURES = 10
WINDOW_BALLOTS = 200
_MAX_WINDOWS = 2000

#: (ballots, failures) of late, a batch each, by partition and poll.
_windows: dict[tuple[int, int], deque[tuple[int, int]]] = {}

BY_COUNTING = "counting"  # who halts a poll


class TooManyFailures(Exception):
    """Most ballots of these polls fail: nothing of the batch may stay. Why, by poll."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(dict(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class FailureCounts:
    """How many ballots of each poll a batch had, and how many failed."""

    ballots: Counter[int]
    failures: Counter[int]


def count_failures(_partition: int, blocks: Iterable[Block], failures: Sequence[Failure]) -> FailureCounts:
    """What `check` returns, whatever fails."""
    ballots: Counter[int] = Counter()
    for block in blocks:
        ballots[block.poll_id] += len(block)
    return FailureCounts(ballots, Counter(entry.poll_id for entry, _reason, _detail in failures))


def check(partition: int, blocks: Iterable[Block], failures: Sequence[Failure]) -> FailureCounts:
    """Raise Halting where most of a poll's ballots fail, with what this batch adds to those before."""
    failure_counts = count_failures(partition, blocks, failures)
    reasons = {
        poll_id: _most_common_reasons(poll_id, failures)
        for poll_id, failed in failure_counts.failures.items()
        if _most_fail(partition, poll_id, failure_counts.ballots[poll_id], failed)
    }
    if reasons:
        # Entries of no poll at all are dead letters, however many.
        known = set(Poll.objects.filter(pk__in=reasons).values_list("pk", flat=True))
        if known:
            raise TooManyFailures({poll_id: reasons[poll_id] for poll_id in known})
    return failure_counts


def record_batch(partition: int, failure_counts: FailureCounts) -> None:
    """What a batch came to, once it is committed."""
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


# --- holding; by whoever has the partition's checkpoint ---


def halt(reasons: Mapping[int, str]) -> None:
    """Halt these polls, in the transaction that holds the first of their ballots."""
    for poll_id, reason in reasons.items():
        made = Halt.objects.bulk_create([Halt(poll_id=poll_id, reason=reason)], ignore_conflicts=True)
        logger.error("counting_halted", extra={"poll": poll_id, "reason": reason, "halts": len(made)})
        code = Poll.objects.filter(pk=poll_id).values_list("code", flat=True).first() or ""
        record(BY_COUNTING, "counting halted", code, reason=reason)
        for window in [window for window in _windows if window[1] == poll_id]:
            _windows.pop(window, None)


def watch_all_partitions() -> None:
    """Let the workers of all partitions look for halted polls."""
    if Checkpoint.objects.filter(watch=False).exists():
        with transaction.atomic():
            lock_all_checkpoints()
            Checkpoint.objects.update(watch=True)


def halted_polls(poll_ids: set[int]) -> set[int]:
    """Which of these polls don't count just now."""
    return set(Halt.objects.filter(poll_id__in=poll_ids).values_list("poll_id", flat=True))


def alarm_text(poll_code: str, row: Halt) -> str:
    """What an operator is told."""
    return _(
        "Counting of poll %(code)s is halted, since most of its ballots can't be counted: %(reason)s."
        " %(count)s ballots are held."
    ) % {"code": poll_code, "reason": row.reason, "count": held_ballots.count_ballots(row.poll_id)}
