"""Close a poll once everything that was accepted has been counted."""

from __future__ import annotations

import logging

from django.db import transaction

from analytics.counting import stepped_results
from analytics.models import Checkpoint, HeldBlock
from analytics.results.final_results import final_result
from polls import lifecycle
from polls.models import Poll, State
from polls.votelog import get_log

logger = logging.getLogger(__name__)


def close_counted_polls() -> None:
    """closing → closed for every poll whose closing markers have all been counted."""
    for poll in Poll.objects.filter(state=State.CLOSING):
        try:
            _close_if_counted(poll)
        except Exception:
            # What is wrong with one poll must not keep the others from closing.
            logger.exception("closing_not_settled", extra={"poll": poll.pk})


def _close_if_counted(poll: Poll) -> None:
    if HeldBlock.objects.filter(poll_id=poll.pk, round=poll.round).exists():
        return  # a result without them would be wrong
    markers = lifecycle.closing_markers(poll)
    counted = dict(Checkpoint.objects.values_list("partition", "position"))
    if len(markers) < get_log().partitions:
        return
    if any(counted.get(marker.partition, 0) < marker.position for marker in markers):
        return
    with transaction.atomic():
        # Under the poll's lock, as a dead letter that is counted meanwhile: one of the two sees the other.
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        closed_at = max(marker.closed_at for marker in markers)
        if locked.release_step > 1:
            stepped_results.finish(locked, locked.round)
        lifecycle.finish_closing(poll.pk, poll.round, closed_at, final_result(locked))
