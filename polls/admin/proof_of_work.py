"""The switch for proofs of work on a poll's page."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from polls import clock
from polls.audit_log import user_actor
from polls.models import Poll, ProofOfWork, State
from polls.voters import proof_policy


def switch(poll: Poll) -> dict[str, Any] | None:
    """Return the switch's context while a poll is open, otherwise None."""
    if poll.state != State.OPEN:
        return None
    until = poll.proof_until
    suspected = poll.proof_of_work == ProofOfWork.AUTO and until is not None and until > clock.utc_now()
    return {
        "policies": [(value, label, value == poll.proof_of_work) for value, label in ProofOfWork.choices],
        "until": until if suspected else None,
        "note": _suspicion(until) if suspected else "",
        "end": ProofOfWork.AUTO,
    }


def _suspicion(until: Any) -> str:
    return _(
        "Proof of work is on until %(time)s, because several addresses or networks sent too many ballots."
    ) % {"time": date_format(timezone.localtime(until), "TIME_FORMAT")}


def choose(request: HttpRequest, poll: Poll) -> str:
    """Set the chosen policy and return a message about it, or "" for an unknown policy."""
    try:
        policy = ProofOfWork(request.POST.get("_proof", ""))
    except ValueError:
        return ""
    proof_policy.set_policy(poll.pk, policy, user_actor(request.user))
    return {
        ProofOfWork.OFF: _("Ballots never need a proof of work."),
        ProofOfWork.AUTO: _("Ballots need a proof of work only while an attack is suspected."),
        ProofOfWork.ON: _("Every ballot now needs a proof of work."),
    }[policy]
