"""When a poll asks voters for proofs of work: as its operator chose, or for a while after an anomaly."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from polls import clock, lifecycle
from polls.audit_log import record
from polls.models import Poll, ProofOfWork, State

#: How long a suspicion asks for proofs; one that goes on is put off every minute.
SUSPICION_LASTS = timedelta(minutes=10)
_EXTEND_AFTER = timedelta(minutes=1)
#: Who acts, for the records.
ACTOR = "rule over_limit"


def suspect_attack(poll_id: int, **why: str | int) -> bool:
    """An attack is suspected: an open poll that leaves it to us asks for proofs from now on, for ten minutes.

    True where it didn't before; `why` goes into the records.
    """
    now = clock.utc_now()
    with transaction.atomic():
        poll = (
            Poll.objects.select_for_update()
            .filter(pk=poll_id, state=State.OPEN, proof_of_work=ProofOfWork.AUTO)
            .first()
        )
        if poll is None:
            return False
        until = poll.proof_until
        if until is not None and until > now + SUSPICION_LASTS - _EXTEND_AFTER:
            return False
        poll.proof_until = now + SUSPICION_LASTS
        poll.save(update_fields=["proof_until"])
        lifecycle.bump_revision(poll_id)
        new = until is None or until <= now
        if new:
            record(ACTOR, "proof of work switched on", poll.code, until=poll.proof_until, **why)
    return new


def set_policy(poll_id: int, policy: ProofOfWork, by: str) -> None:
    """Ask for proofs never, while an attack is suspected, or always; a suspicion so far is dropped."""
    with transaction.atomic():
        poll = Poll.objects.select_for_update().get(pk=poll_id)
        poll.proof_of_work, poll.proof_until = policy, None
        poll.save(update_fields=["proof_of_work", "proof_until"])
        lifecycle.bump_revision(poll_id)
        record(by, "proof of work chosen", poll.code, proof_of_work=str(policy))
