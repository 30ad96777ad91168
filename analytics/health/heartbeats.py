"""Which workers live, and whether the sweep was seen: each says so every few seconds."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now

from analytics.models import Pulse

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5
#: A worker or sweep that was not seen for this long is taken to be gone.
STALE_AFTER = timedelta(seconds=15)


def record(name: str) -> None:
    # By the database's clock, as those who look: a host whose own is wrong is not gone.
    Pulse.objects.update_or_create(name=name, defaults={"seen_at": Now()})


_stopping = threading.Event()


def start(sender: Any = None, **_: Any) -> None:
    """Once a worker is ready: tell every few seconds that it lives."""
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
    """Workers seen within the last ten minutes: name, seconds since they were seen, alive."""
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
    """Whether beat's sweep was seen lately, which opens and closes polls and finds what was left behind."""
    return _ages().filter(name="sweep", age__lt=STALE_AFTER).exists()


def _ages() -> QuerySet[Any]:
    age = ExpressionWrapper(Now() - F("seen_at"), output_field=DurationField())
    return Pulse.objects.annotate(age=age)
