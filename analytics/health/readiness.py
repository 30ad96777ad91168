"""Readiness for /readyz: whether this process accepts ballots, and in which state the system is."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection

from analytics.counting import checkpoints
from analytics.health import heartbeats, modes
from analytics.health.bounded_probes import ProbeRunner
from analytics.models import Halt
from polls import clock, secret_key
from polls.errors import LogInconsistent, LogUnsuitable
from polls.votelog import cached_heads, get_log, sync_clock

logger = logging.getLogger(__name__)

#: If a host's clock differs from the vote log's by more than this, an operator must correct it.
CLOCK_TOLERANCE_SECONDS = 5.0


@dataclass(frozen=True)
class Readiness:
    """Whether this process accepts ballots, and the system's state. No field is about a single poll."""

    ready: bool
    parts: dict[str, str]  # for each part of the system, "ok" or the failure
    modes: list[str]


def check_readiness() -> Readiness:
    """Probe all stores. Probe all parts. Wait only a few seconds for stores that hang."""
    found = _probes.run()
    parts = {name: _part_state(name, found[name]) for name in PARTS}
    active = {mode for mode in _MODE_PROBES if found[mode] is True}
    if isinstance(found["backlog"], int) and found["backlog"] > BEHIND_BALLOTS:
        active.add(modes.COUNTING_BEHIND)
    published = found["published"] if isinstance(found["published"], set) else set()
    active |= published | _implied_modes(parts)
    return Readiness(_is_ready(parts), parts, [mode for mode in modes.DESCRIPTIONS if mode in active])


def _is_ready(parts: dict[str, str]) -> bool:
    """Return whether the vote log (which may be the database) and SECRET_KEY allow accepting ballots."""
    needed = ["vote_log", "backlog"]
    if settings.VOTE_LOG == "database":
        needed.append("database")
    return all(parts[name] == OK for name in needed) and parts["secret_key"] != _FAILURES["secret_key"]


def _implied_modes(parts: dict[str, str]) -> set[str]:
    found = set()
    if parts["database"] != OK:
        found.add(modes.DATABASE_AWAY)
    if parts["broker"] != OK:
        found.add(modes.BROKER_AWAY)
    if parts["vote_log"] != OK:
        wrong = parts["vote_log"] in (LogInconsistent.code, LogUnsuitable.code)
        found.add(modes.LOG_INCONSISTENT if wrong else modes.LOG_AWAY)
    return found | {mode for name, mode in _MODE_OF_PART.items() if parts[name] == _FAILURES[name]}


def _part_state(name: str, answer: Any) -> str:
    if name in _FAILURES:
        # If the store of this probe fails, the part for that store reports it.
        return _UNKNOWN if isinstance(answer, BaseException) else OK if answer else _FAILURES[name]
    if name == "backlog":
        # While the database, which holds the checkpoints, is down, the backlog is unknown.
        return "too_long" if isinstance(answer, int) and answer > settings.BACKLOG_LIMIT else OK
    if isinstance(answer, BaseException):
        logger.warning("not_ready", extra={"part": name}, exc_info=answer)
        return str(getattr(answer, "code", "")) or "unavailable"
    return OK


OK = "ok"
PARTS = ("database", "vote_log", "broker", "backlog", "workers", "beat", "clock", "secret_key")
_UNKNOWN = "unknown"
#: The parts whose probe returns a bool, and the state of each part if its probe returns False.
_FAILURES = {"workers": "none", "beat": "silent", "clock": "off", "secret_key": "differs"}
_MODE_OF_PART = {
    "workers": modes.COUNTING_STOPPED,
    "beat": modes.SWEEP_STOPPED,
    "clock": modes.CLOCK_OFF,
    "secret_key": modes.SECRET_KEY_DIFFERS,
}
#: With more uncounted ballots than this, viewers see an old tally.
BEHIND_BALLOTS = 100_000


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_log() -> None:
    get_log().verify()
    checkpoints.compare(cached_heads(make=False))


def _check_broker() -> None:
    with current_app.connection_for_write(connect_timeout=2) as broker:
        broker.ensure_connection(max_retries=1, timeout=2)


def _clock_is_right() -> bool:
    sync_clock()
    return abs(clock.offset()) <= CLOCK_TOLERANCE_SECONDS


_MODE_PROBES: dict[str, Callable[[], bool]] = {
    modes.COUNTING_HALTED: Halt.objects.exists,
    modes.PROOF_OF_WORK: modes.proof_required,
}
_probes = ProbeRunner(
    {
        "database": _check_database,
        "vote_log": _check_log,
        "broker": _check_broker,
        "backlog": checkpoints.backlog,
        "workers": heartbeats.worker_alive,
        "beat": heartbeats.sweep_alive,
        "clock": _clock_is_right,
        "secret_key": secret_key.secret_key_is_known,
        "published": modes.published,
        **_MODE_PROBES,
    }
)
