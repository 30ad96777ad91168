"""Heartbeats: each worker and the sweep update a row every few seconds to show that they are alive."""

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now

from analytics.models import Pulse

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5
#: A worker or sweep without a heartbeat for this long counts as stopped.
STALE_AFTER = timedelta(seconds=15)


def record(name: str) -> None:
    """Record a heartbeat by the database's clock, since a host's own clock may be wrong."""
    Pulse.objects.update_or_create(name=name, defaults={"seen_at": Now()})


_stopping = threading.Event()


def start(sender: Any = None, **_: Any) -> None:
    """Start the heartbeat of this worker. Celery calls this when the worker is ready."""
    _stopping.clear()
    name = f"worker {getattr(sender, 'hostname', '')}".strip()
    threading.Thread(target=_run, args=(name,), name="heartbeat", daemon=True).start()


def stop(**_: Any) -> None:
    _stopping.set()


def _run(name: str) -> None:
    while True:
        try:
            record(name)
        except Exception:
            logger.warning("heartbeat_failed", exc_info=True)
        finally:
            connection.close()
        if _stopping.wait(_INTERVAL_SECONDS):
            break
    try:
        Pulse.objects.filter(name=name).delete()
    finally:
        connection.close()


def workers() -> list[dict[str, Any]]:
    """Return the workers that had a heartbeat in the last ten minutes, and whether they are alive."""
    rows = _ages().filter(name__startswith="worker", age__lt=timedelta(minutes=10)).order_by("name")
    return [
        {
            "name": name.removeprefix("worker "),
            "seen_seconds_ago": round(age.total_seconds()),
            "alive": age < STALE_AFTER,
        }
        for name, age in rows.values_list("name", "age")
    ]


def worker_alive() -> bool:
    return _ages().filter(name__startswith="worker", age__lt=STALE_AFTER).exists()


def sweep_alive() -> bool:
    """Return whether Celery beat runs. Beat starts the sweep, and opens and closes polls by schedule."""
    return last_sweep()[1]


def last_sweep() -> tuple[datetime | None, bool]:
    """Return when the last sweep began, and whether beat counts as alive."""
    row = _ages().filter(name="sweep").first()
    return (row.seen_at, row.age < STALE_AFTER) if row else (None, False)


def _ages() -> QuerySet[Any]:
    age = ExpressionWrapper(Now() - F("seen_at"), output_field=DurationField())
    return Pulse.objects.annotate(age=age)
