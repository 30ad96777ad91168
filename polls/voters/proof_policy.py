"""When a poll requires proofs of work: as its organiser has chosen, or for a while after an anomaly."""

from datetime import timedelta

from django.db import transaction

from polls import clock, lifecycle
from polls.audit_log import record
from polls.models import Poll, ProofOfWork, State

#: How long proofs are required after an attack is suspected. While the attack goes on, the time is extended
#: every minute.
SUSPICION_LASTS = timedelta(minutes=10)
_EXTEND_AFTER = timedelta(minutes=1)
#: The actor in the audit log.
ACTOR = "rule over_limit"


def suspect_attack(poll_id: int, **why: str | int) -> bool:
    """Require proofs for SUSPICION_LASTS if the poll is open and its policy is AUTO.

    Return True if it didn't require them before; `why` then goes into the audit log.
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
    """Set the poll's policy. This also ends a requirement after a suspected attack."""
    with transaction.atomic():
        poll = lifecycle.lock_poll(poll_id)
        poll.proof_of_work, poll.proof_until = policy, None
        poll.save(update_fields=["proof_of_work", "proof_until"])
        lifecycle.bump_revision(poll_id)
        record(by, "proof of work chosen", poll.code, proof_of_work=str(policy))
