"""Trim the vote log behind the checkpoint."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.utils import timezone

from analytics.models import Checkpoint
from polls.errors import Unavailable
from polls.votelog.contract import VoteLog

logger = logging.getLogger(__name__)


#: Entries are trimmed once they have been counted for this long: a replica or a repair may want them.
KEEP_COUNTED = timedelta(minutes=1)


def is_due(checkpoint: Checkpoint) -> bool:
    if checkpoint.trim_noted_at is None:
        return checkpoint.trim_to < checkpoint.position
    return timezone.now() - checkpoint.trim_noted_at >= KEEP_COUNTED


def trim(log: VoteLog, checkpoint: Checkpoint) -> None:
    """Before the commit, and safe: all this was counted by transactions that are long over.

    A store that takes no writes just now must not keep ballots from being counted: the next batch tries.
    """
    try:
        log.trim(checkpoint.partition, checkpoint.trim_to)
    except Unavailable as error:
        logger.warning("log_not_trimmed", extra={"partition": checkpoint.partition, "error": str(error)})
    else:
        _note(checkpoint)


def _note(checkpoint: Checkpoint) -> None:
    """What is counted by now is trimmed next time; no note once there is nothing left to trim."""
    left = checkpoint.trim_to < checkpoint.position
    checkpoint.trim_noted_at = timezone.now() if left else None
    checkpoint.trim_to = checkpoint.position
