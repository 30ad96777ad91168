"""Whether the parts answer, how many ballots wait, and which workers live."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone

from polls.models import DeadLetter
from polls.votelog import get_log

from . import checkpoints
from .models import Checkpoint, Pulse

logger = logging.getLogger(__name__)

_PULSE_SECONDS = 5
#: A worker or sweep that was not seen for this long is taken to be gone.
GONE_AFTER = timedelta(seconds=15)
#: A backlog over this answers /readyz with 503: send new voters elsewhere, or add workers.
BACKLOG_LIMIT = 1_000_000


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
                "consistent": head is not None and head.continues(row.generation, row.position),
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
    }


def readiness() -> dict[str, str]:
    """Per part "ok" or what is wrong with it. Says nothing of any poll."""
    return {name: _tried(check) for name, check in _CHECKS.items()}


def _tried(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:
        logger.warning("not_ready", exc_info=True)
        return str(getattr(error, "code", "")) or "unavailable"
    return "ok"


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_broker() -> None:
    with current_app.connection_for_write(connect_timeout=2) as broker:
        broker.ensure_connection(max_retries=1, timeout=2)


class BacklogTooLong(Exception):
    code = "backlog_too_long"


def _check_backlog() -> None:
    if checkpoints.backlog() > BACKLOG_LIMIT:
        raise BacklogTooLong


_CHECKS: dict[str, Callable[[], None]] = {
    "database": _check_database,
    "vote_log": checkpoints.verify,
    "broker": _check_broker,
    "backlog": _check_backlog,
}


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
        "# HELP landslide_log_consistent Whether the vote log is the one the database counts from.",
        "# TYPE landslide_log_consistent gauge",
        f"landslide_log_consistent {int(now['consistent'])}",
        f'landslide_info{{vote_log="{settings.VOTE_LOG}"}} 1',
    ]
    return "\n".join(lines) + "\n"
