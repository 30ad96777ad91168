"""Update the stored result of a finished round after its tally has changed."""

from django.db import transaction
from django.db.models import F

from analytics.counting import stepped_results
from analytics.results.final_results import earlier_result, final_result
from analytics.results.tallies import counts_of
from polls.models import Poll, Round, State
from polls.signals import poll_changed


def update_result(poll_id: int, round_number: int) -> None:
    """Set a finished round's result to its tally. If the poll is published, start a new epoch.

    Call it after the change, in the transaction that changes the tally. If the poll is closed at the same
    time, the later transaction sees the changes of the other because of the poll's lock.
    """
    poll = Poll.objects.select_for_update().filter(pk=poll_id).first()
    if poll is None:
        return
    if poll.round > round_number:
        _update_earlier_result(poll, round_number)
    elif poll.round == round_number and poll.state in (State.CLOSED, State.PUBLISHED):
        if poll.release_step > 1:
            stepped_results.finish(poll, round_number)
        if poll.state == State.PUBLISHED:
            Poll.objects.filter(pk=poll.pk).update(epoch=F("epoch") + 1)
        Round.objects.filter(poll=poll, number=round_number).update(result=final_result(poll))
        transaction.on_commit(lambda: poll_changed.send(sender=Poll, poll_id=poll.pk))


def _update_earlier_result(poll: Poll, round_number: int) -> None:
    # A round that was reset while it was open has no result.
    for round_ in Round.objects.filter(poll=poll, number=round_number, result__isnull=False):
        if round_.release_step > 1:
            stepped_results.finish(poll, round_number)
        round_.result = earlier_result(round_, counts_of(poll.pk, round_number))
        round_.save(update_fields=["result"])
