"""Trim the vote log up to a checkpoint that is at least a minute old."""

import logging
from datetime import timedelta

from django.utils import timezone

from analytics.models import Checkpoint
from polls.errors import Unavailable
from polls.votelog.contract import VoteLog

logger = logging.getLogger(__name__)

#: How long counted entries stay in the log. A replica or a repair may need them.
KEEP_COUNTED = timedelta(minutes=1)


def is_due(checkpoint: Checkpoint) -> bool:
    if checkpoint.trim_noted_at is None:
        return checkpoint.trim_to < checkpoint.position
    return timezone.now() - checkpoint.trim_noted_at >= KEEP_COUNTED


def trim(log: VoteLog, checkpoint: Checkpoint) -> None:
    """Trim entries that earlier transactions counted. A rollback of this transaction does no harm."""
    try:
        log.trim(checkpoint.partition, checkpoint.trim_to)
    except Unavailable as error:  # the next batch trims the log again
        logger.warning("log_not_trimmed", extra={"partition": checkpoint.partition, "error": str(error)})
    else:
        _note(checkpoint)


def _note(checkpoint: Checkpoint) -> None:
    """Store the position for the next trim, and the present time, or no time if nothing is to be trimmed."""
    untrimmed = checkpoint.trim_to < checkpoint.position
    checkpoint.trim_noted_at = timezone.now() if untrimmed else None
    checkpoint.trim_to = checkpoint.position
