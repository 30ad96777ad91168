"""Whether the parts answer, how many ballots wait, and which workers live."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone

from polls.errors import LogInconsistent, LogUnsuitable
from polls.models import DeadLetter
from polls.votelog import get_log, kept_heads

from . import checkpoints, halting, modes
from .asking import Asker
from .models import Checkpoint, Halt, Pulse

logger = logging.getLogger(__name__)

_PULSE_SECONDS = 5
#: A worker or sweep that was not seen for this long is taken to be gone.
GONE_AFTER = timedelta(seconds=15)


def pulse(name: str) -> None:
    Pulse.objects.update_or_create(name=name, defaults={"seen_at": timezone.now()})


_stopping = threading.Event()


def start_pulse(sender: Any = None, **_: Any) -> None:
    """Once a worker is ready: tell every few seconds that it lives."""
    _stopping.clear()
    name = f"worker {getattr(sender, 'hostname', '')}".strip()
    threading.Thread(target=_beat, args=(name,), name="pulse", daemon=True).start()


def stop_pulse(**_: Any) -> None:
    _stopping.set()


def _beat(name: str) -> None:
    while True:
        try:
            pulse(name)
        except Exception:
            logger.warning("pulse_failed", exc_info=True)
        finally:
            connection.close()
        if _stopping.wait(_PULSE_SECONDS):
            break
    try:
        Pulse.objects.filter(name=name).delete()
    finally:
        connection.close()


def workers() -> list[dict[str, Any]]:
    """Workers seen within the last ten minutes: name, seconds since they were seen, alive."""
    now = timezone.now()
    lately = now - timedelta(minutes=10)
    rows = Pulse.objects.filter(name__startswith="worker", seen_at__gt=lately).order_by("name")
    return [
        {
            "name": row.name.removeprefix("worker "),
            "seen_seconds_ago": round((now - row.seen_at).total_seconds()),
            "alive": now - row.seen_at < GONE_AFTER,
        }
        for row in rows
    ]


def status() -> dict[str, Any]:
    """For the admin's eyes: backlog by partition, workers, sweep, dead letters, the log's health."""
    return {**log_status(), **counting_status()}


def log_status() -> dict[str, Any]:
    """How far the vote log is counted, and whether it is the one counted from. Raises if it is down."""
    heads = get_log().heads()
    partitions = []
    for row in Checkpoint.objects.order_by("partition"):
        head = heads.get(row.partition)
        partitions.append(
            {
                "partition": row.partition,
                "counted": row.position,
                "appended": head.position if head else None,
                "backlog": max(0, head.position - row.position) if head else None,
                "consistent": head is not None
                and head.continues(row.generation, row.position)
                and not head.lacks(row.position),
            }
        )
    return {
        "log": get_log().name,
        "partitions": partitions,
        "backlog": sum(row["backlog"] or 0 for row in partitions),
        "consistent": all(row["consistent"] for row in partitions),
    }


def counting_status() -> dict[str, Any]:
    """Who counts, and what is left for a person to decide; from the database alone."""
    swept = Pulse.objects.filter(name="sweep").values_list("seen_at", flat=True).first()
    return {
        "workers": workers(),
        "swept_at": swept,
        "sweeping": bool(swept and timezone.now() - swept < GONE_AFTER),
        "dead_letters": DeadLetter.objects.filter(status=DeadLetter.Status.WAITING).count(),
        "halted": Halt.objects.count(),
        "held": halting.held_ballots(),
    }


@dataclass(frozen=True)
class WellBeing:
    """Whether ballots are accepted here, what of each part, and which degraded modes there are.

    parts: "ok" or what is wrong. Says nothing of any poll.
    """

    ready: bool
    parts: dict[str, str]
    modes: list[str]


def well_being() -> WellBeing:
    """Asks every store, and waits a few seconds at most for those that hang."""
    found = _asker.answers()
    parts = {name: _state(name, found[name]) for name in PARTS}
    asked = {mode for mode in _MODES if found[mode] is True}
    if isinstance(found["backlog"], int) and found["backlog"] > BEHIND:
        asked.add(modes.COUNTING_BEHIND)
    published = found["published"] if isinstance(found["published"], set) else set()
    ready = _accepting(parts)
    return WellBeing(ready, parts, modes.in_order(asked | published | _implied(parts)))


def _accepting(parts: dict[str, str]) -> bool:
    """What ballots need: the log, and the database only where it is the log."""
    needed = ["vote_log", "backlog"]
    if settings.VOTE_LOG == "database":
        needed.append("database")
    return all(parts[name] == OK for name in needed)


def _implied(parts: dict[str, str]) -> set[str]:
    found = set()
    if parts["database"] != OK:
        found.add(modes.DATABASE_AWAY)
    if parts["broker"] != OK:
        found.add(modes.BROKER_AWAY)
    if parts["vote_log"] != OK:
        wrong = parts["vote_log"] in (LogInconsistent.code, LogUnsuitable.code)
        found.add(modes.LOG_INCONSISTENT if wrong else modes.LOG_AWAY)
    return found


def _state(name: str, answer: Any) -> str:
    if name == "backlog":
        # Not known while the database is away: how far it has counted is in there.
        return "too_long" if isinstance(answer, int) and answer > settings.BACKLOG_LIMIT else OK
    if isinstance(answer, BaseException):
        logger.warning("not_ready", extra={"part": name}, exc_info=answer)
        return str(getattr(answer, "code", "")) or "unavailable"
    return OK


OK = "ok"
PARTS = ("database", "vote_log", "broker", "backlog")
#: More than this wait to be counted: whoever watches sees an old tally.
BEHIND = 100_000


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_log() -> None:
    get_log().verify()
    checkpoints.compare(kept_heads(make=False))


def _check_broker() -> None:
    with current_app.connection_for_write(connect_timeout=2) as broker:
        broker.ensure_connection(max_retries=1, timeout=2)


_MODES: dict[str, Callable[[], bool]] = {
    modes.COUNTING_HALTED: modes.counting_halted,
    modes.PROOF_OF_WORK: modes.proof_wanted,
}
_asker = Asker(
    {
        "database": _check_database,
        "vote_log": _check_log,
        "broker": _check_broker,
        "backlog": checkpoints.backlog,
        "published": modes.published,
        **_MODES,
    }
)


def metrics() -> str:
    """Prometheus text. Nothing by poll: a hidden tally must not be read off a graph."""
    now = status()
    lines = [
        "# HELP landslide_backlog Accepted ballots that are not counted yet.",
        "# TYPE landslide_backlog gauge",
        f"landslide_backlog {now['backlog']}",
        "# HELP landslide_workers Counting workers alive.",
        "# TYPE landslide_workers gauge",
        f"landslide_workers {sum(worker['alive'] for worker in now['workers'])}",
        "# HELP landslide_dead_letters Log entries that wait for a decision.",
        "# TYPE landslide_dead_letters gauge",
        f"landslide_dead_letters {now['dead_letters']}",
        "# HELP landslide_halted_polls Polls whose counting halted, since most of their ballots failed.",
        "# TYPE landslide_halted_polls gauge",
        f"landslide_halted_polls {now['halted']}",
        "# HELP landslide_held_ballots Ballots of halted polls, until somebody resumes the counting.",
        "# TYPE landslide_held_ballots gauge",
        f"landslide_held_ballots {now['held']}",
        "# HELP landslide_log_consistent Whether the vote log is the one the database counts from.",
        "# TYPE landslide_log_consistent gauge",
        f"landslide_log_consistent {int(now['consistent'])}",
        f'landslide_info{{vote_log="{settings.VOTE_LOG}"}} 1',
    ]
    return "\n".join(lines) + "\n"


_scraper = Asker({"metrics": metrics})


def metrics_in_time() -> str:
    """The same within a few seconds: raises what a store does that is away, TimeoutError where one hangs."""
    answer = _scraper.answers()["metrics"]
    if isinstance(answer, BaseException):
        raise answer
    return str(answer)
