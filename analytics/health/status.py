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
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now

from analytics.counting import checkpoints, held_ballots
from analytics.health import modes
from analytics.health.bounded_probes import Asker
from analytics.models import Checkpoint, Halt, Pulse
from polls import clock, secret_key
from polls.errors import LogInconsistent, LogUnsuitable
from polls.models import DeadLetter
from polls.votelog import get_log, kept_heads, learn_clock

logger = logging.getLogger(__name__)

_PULSE_SECONDS = 5
#: A worker or sweep that was not seen for this long is taken to be gone.
GONE_AFTER = timedelta(seconds=15)


#: A host's clock that is further off than this from the vote log's needs an operator.
CLOCK_TOLERANCE_SECONDS = 5.0


def pulse(name: str) -> None:
    # By the database's clock, as those who look: a host whose own is wrong is not gone.
    Pulse.objects.update_or_create(name=name, defaults={"seen_at": Now()})


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
    rows = _ages().filter(name__startswith="worker", age__lt=timedelta(minutes=10)).order_by("name")
    return [
        {
            "name": name.removeprefix("worker "),
            "seen_seconds_ago": round(age.total_seconds()),
            "alive": age < GONE_AFTER,
        }
        for name, age in rows.values_list("name", "age")
    ]


def counting_alive() -> bool:
    return _ages().filter(name__startswith="worker", age__lt=GONE_AFTER).exists()


def sweeping() -> bool:
    """Whether beat's sweep was seen lately, which opens and closes polls and finds what was left behind."""
    return _ages().filter(name="sweep", age__lt=GONE_AFTER).exists()


def _ages() -> QuerySet[Any]:
    age = ExpressionWrapper(Now() - F("seen_at"), output_field=DurationField())
    return Pulse.objects.annotate(age=age)


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
        "sweeping": sweeping(),
        "dead_letters": DeadLetter.objects.filter(status=DeadLetter.Status.WAITING).count(),
        "halted": Halt.objects.count(),
        "held": held_ballots.count_ballots(),
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
    """What ballots need: the log, the key that voters are known by, and the database where it is the log."""
    needed = ["vote_log", "backlog"]
    if settings.VOTE_LOG == "database":
        needed.append("database")
    return all(parts[name] == OK for name in needed) and parts["secret_key"] != _NOT_SO["secret_key"]


def _implied(parts: dict[str, str]) -> set[str]:
    found = set()
    if parts["database"] != OK:
        found.add(modes.DATABASE_AWAY)
    if parts["broker"] != OK:
        found.add(modes.BROKER_AWAY)
    if parts["vote_log"] != OK:
        wrong = parts["vote_log"] in (LogInconsistent.code, LogUnsuitable.code)
        found.add(modes.LOG_INCONSISTENT if wrong else modes.LOG_AWAY)
    return found | {mode for name, mode in _ALARMS.items() if parts[name] == _NOT_SO[name]}


def _state(name: str, answer: Any) -> str:
    if name in _NOT_SO:
        # Where the store that knows is away, its own part says so.
        return _UNKNOWN if isinstance(answer, BaseException) else OK if answer else _NOT_SO[name]
    if name == "backlog":
        # Not known while the database is away: how far it has counted is in there.
        return "too_long" if isinstance(answer, int) and answer > settings.BACKLOG_LIMIT else OK
    if isinstance(answer, BaseException):
        logger.warning("not_ready", extra={"part": name}, exc_info=answer)
        return str(getattr(answer, "code", "")) or "unavailable"
    return OK


OK = "ok"
PARTS = ("database", "vote_log", "broker", "backlog", "workers", "beat", "clock", "secret_key")
_UNKNOWN = "unknown"
#: Parts that are so or not so, and what is said where they aren't.
_NOT_SO = {"workers": "none", "beat": "silent", "clock": "off", "secret_key": "differs"}
_ALARMS = {
    "workers": modes.COUNTING_STOPPED,
    "beat": modes.SWEEP_STOPPED,
    "clock": modes.CLOCK_OFF,
    "secret_key": modes.SECRET_KEY_DIFFERS,
}
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


def _clock_is_right() -> bool:
    learn_clock()
    return abs(clock.offset()) <= CLOCK_TOLERANCE_SECONDS


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
        "workers": counting_alive,
        "beat": sweeping,
        "clock": _clock_is_right,
        "secret_key": secret_key.secret_key_is_known,
        "published": modes.published,
        **_MODES,
    }
)


def metrics() -> str:
    """Prometheus text. Nothing by poll: a hidden tally must not be read off a graph."""
    now = status()
    learn_clock()
    gauges: list[tuple[str, str, int]] = [
        ("backlog", "Accepted ballots that are not counted yet.", now["backlog"]),
        ("workers", "Counting workers alive.", sum(worker["alive"] for worker in now["workers"])),
        ("sweeping", "Whether beat's sweep was seen lately.", now["sweeping"]),
        ("dead_letters", "Log entries that wait for a decision.", now["dead_letters"]),
        ("halted_polls", "Polls whose counting halted, since most of their ballots failed.", now["halted"]),
        ("held_ballots", "Ballots of halted polls, until somebody resumes the counting.", now["held"]),
        ("log_consistent", "Whether the vote log is the one the database counts from.", now["consistent"]),
        (
            "clock_offset_seconds",
            "How far the vote log's clock is ahead of this host's.",
            round(clock.offset()),
        ),
        (
            "secret_key_known",
            "Whether voters are known by this process's SECRET_KEY.",
            secret_key.secret_key_is_known(),
        ),
    ]
    lines = [line for gauge in gauges for line in _gauge(*gauge)]
    lines += _gauge("info", "What this process runs with.", 1, f'{{vote_log="{settings.VOTE_LOG}"}}')
    return "\n".join(lines) + "\n"


def _gauge(name: str, meaning: str, value: int, labels: str = "") -> list[str]:
    name = f"landslide_{name}"
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name}{labels} {int(value)}"]


_scraper = Asker({"metrics": metrics})


def metrics_in_time() -> str:
    """The same within a few seconds: raises what a store does that is away, TimeoutError where one hangs."""
    answer = _scraper.answers()["metrics"]
    if isinstance(answer, BaseException):
        raise answer
    return str(answer)
