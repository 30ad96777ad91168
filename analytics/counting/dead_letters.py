"""Settle dead letters: count them after a repair, or reject them for good."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.counting import block_counting, result_updates
from analytics.models import Checkpoint
from analytics.signals import tally_changed
from polls.audit_log import record
from polls.errors import IllegalState
from polls.models import DeadLetter, Poll
from polls.text.timestamps import to_milliseconds
from polls.votelog.entries import Entry


def count_letter(letter_id: int, by: str) -> DeadLetter:
    """Count a dead letter. Raise IllegalState, with the reason, if its ballot still can't be counted."""
    with transaction.atomic():
        letter = _lock_waiting(letter_id)
        # Every writer of a partition's counters takes this lock, so each counter has one writer at a time.
        Checkpoint.objects.select_for_update().filter(partition=letter.partition).first()
        reason = block_counting.count_entry(letter.partition, _entry(letter))
        if reason:
            raise IllegalState(_("It still can't be counted: %(reason)s") % {"reason": reason})
        _set_status(letter, DeadLetter.Status.COUNTED, by)
        result_updates.update_result(letter.poll_id, letter.round)
        _record(letter, by)
    tally_changed.send(sender=None, poll_ids={letter.poll_id})
    return letter


def reject_letter(letter_id: int, by: str) -> DeadLetter:
    """Reject a dead letter for good. The receipt of its ballot then says `rejected`."""
    with transaction.atomic():
        letter = _lock_waiting(letter_id)
        _set_status(letter, DeadLetter.Status.REJECTED, by)
        _record(letter, by)
    return letter


def _lock_waiting(letter_id: int) -> DeadLetter:
    letter = DeadLetter.objects.select_for_update().get(pk=letter_id)
    if letter.status != DeadLetter.Status.WAITING:
        raise IllegalState(_("This dead letter is already settled."))
    return letter


def _set_status(letter: DeadLetter, status: DeadLetter.Status, by: str) -> None:
    letter.status, letter.settled_at, letter.settled_by = status, timezone.now(), by
    letter.save(update_fields=["status", "settled_at", "settled_by"])


def _record(letter: DeadLetter, by: str) -> None:
    code = Poll.objects.filter(pk=letter.poll_id).values_list("code", flat=True).first() or ""
    record(f"user {by}", f"dead letter {letter.status}", code, entry=str(letter), round=letter.round)


def _entry(letter: DeadLetter) -> Entry:
    return Entry(
        position=letter.position,
        kind="ballot",
        poll_id=letter.poll_id,
        round=letter.round,
        # Dead letters of earlier versions don't say when their ballot was accepted.
        at=to_milliseconds(letter.accepted_at or letter.set_aside_at),
        voter_key=bytes(letter.voter_key),
        ballot_id=bytes(letter.ballot_id),
        selection=letter.selection,
        replaces=bytes(letter.replaces) if letter.replaces is not None else None,
        quarantine_rule=letter.quarantine_rule,
    )
