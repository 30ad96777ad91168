"""Degraded modes: how service is limited while a part of the system fails or is overloaded.

Probes detect most modes (readiness.py). Some modes can only be detected by the affected process, such as
`crowded` (overloaded). The process publishes such a mode in the cache, where it expires.
"""

import logging
from typing import Any

from django.core.cache import cache
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from polls import clock
from polls.models import Poll, ProofOfWork, State

logger = logging.getLogger(__name__)

CROWDED = "crowded"
DATABASE_AWAY = "database_away"
BROKER_AWAY = "broker_away"
LOG_AWAY = "log_away"
LOG_INCONSISTENT = "log_inconsistent"
COUNTING_STOPPED = "counting_stopped"
SWEEP_STOPPED = "sweep_stopped"
COUNTING_BEHIND = "counting_behind"
COUNTING_HALTED = "counting_halted"
PROOF_OF_WORK = "proof_of_work"
SECRET_KEY_DIFFERS = "secret_key_differs"  # noqa: S105
CLOCK_OFF = "clock_off"

#: What each mode means for operators, voters and viewers. The most serious mode comes first.
DESCRIPTIONS: dict[str, Any] = {
    LOG_INCONSISTENT: _(
        "The vote log needs an operator. No ballot is accepted or counted until it is repaired."
    ),
    LOG_AWAY: _("The vote log doesn't answer: no ballot is accepted or counted until it does."),
    SECRET_KEY_DIFFERS: _(
        "A server has another SECRET_KEY than the one the polls were made with, so every browser could vote"
        " twice. Take the server out of service and correct its key."
    ),
    DATABASE_AWAY: _("The database doesn't answer: ballots are accepted and kept, and counted when it does."),
    BROKER_AWAY: _("The broker doesn't answer: ballots are accepted and kept, but counted late."),
    COUNTING_STOPPED: _("No worker is running: ballots are accepted and kept, but not counted."),
    SWEEP_STOPPED: _("The sweep (beat) isn't running: polls don't open or close by themselves."),
    CROWDED: _(
        "A server process is overloaded: tallies are sent twice a second and viewer counts every 15 seconds,"
        " so that ballots come first."
    ),
    COUNTING_BEHIND: _("Counting is behind: ballots are accepted as usual, and shown later."),
    COUNTING_HALTED: _(
        "Counting is halted for a poll, because most of its ballots failed. An operator must resume it."
    ),
    CLOCK_OFF: _("A server's clock differs from the vote log's by more than five seconds: correct it."),
    PROOF_OF_WORK: _("In at least one poll, voters' browsers must compute a proof of work."),
}
#: A published mode ends after this many seconds, unless it is published again.
EXPIRES_AFTER_SECONDS = 5


def publish(mode: str) -> None:
    """Publish that this process is in the given mode now. Never raises."""
    try:
        cache.set(_key(mode), 1, EXPIRES_AFTER_SECONDS)
    except Exception:
        logger.warning("mode_not_published", extra={"mode": mode}, exc_info=True)


def published() -> set[str]:
    keys = {_key(mode): mode for mode in DESCRIPTIONS}
    return {keys[key] for key in cache.get_many(keys)}


def proof_required() -> bool:
    suspected = Q(proof_of_work=ProofOfWork.AUTO, proof_until__gt=clock.utc_now())
    return Poll.objects.filter(suspected | Q(proof_of_work=ProofOfWork.ON), state=State.OPEN).exists()


def _key(mode: str) -> str:
    return f"mode:{mode}"
