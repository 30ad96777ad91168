"""Close polls once all their accepted ballots are counted."""

import logging

from django.db import transaction

from analytics.counting import stepped_results
from analytics.counting.checkpoints import are_counted
from analytics.models import HeldBlock
from analytics.results.final_results import final_result
from polls import lifecycle
from polls.models import Poll, State
from polls.votelog import get_log

logger = logging.getLogger(__name__)


def close_counted_polls() -> None:
    """Close every closing poll whose closing markers have been counted in all partitions."""
    for poll in Poll.objects.filter(state=State.CLOSING):
        try:
            _close_if_counted(poll)
        except Exception:
            # A poll that fails must not keep other polls from closing.
            logger.exception("closing_not_settled", extra={"poll": poll.pk})


def _close_if_counted(poll: Poll) -> None:
    if HeldBlock.objects.filter(poll_id=poll.pk, round=poll.round).exists():
        return  # the result would lack the held ballots
    markers = lifecycle.closing_markers(poll)
    ends = {marker.partition: marker.position for marker in markers}
    if len(ends) < get_log().partitions or not are_counted(ends):
        return
    with transaction.atomic():
        # Counting a dead letter locks the poll too. Whichever transaction is later sees the changes of the
        # other.
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        closed_at = max(marker.closed_at for marker in markers)
        if locked.release_step > 1:
            stepped_results.finish(locked, locked.round)
        lifecycle.finish_closing(poll.pk, poll.round, closed_at, final_result(locked))
