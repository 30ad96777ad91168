"""The audit log: an append-only, hash-chained record of what admins, API clients and commands did.

The database refuses to change or delete a row (polls/migrations/0006_records_stand). Bypassing the database's
check breaks the chain of digests, which `verify_chain` detects. A chain can't show that rows are missing from
its end. Each digest is therefore also written to the process's log. An operator who keeps these logs
elsewhere can check that the last digest is still in the chain.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from polls.models import Record

logger = logging.getLogger(__name__)

#: The actors of actions without a signed-in user.
SCHEDULE, COMMAND = "schedule", "command"

#: The key of the advisory lock that all writers take: "records" in ASCII.
_LOCK_KEY = 0x5265636F726473

_CHUNK_ROWS = 2000


def user_actor(user: Any) -> str:
    return f"user {user.get_username()}"


def client_actor(client: Any) -> str:
    """Return the actor for an ApiClient (`request.auth` of a request with an API key)."""
    return f"API client {client.prefix} {client.name}"


def record(actor: str, action: str, poll_code: str = "", **detail: Any) -> Record:
    """Append a record of who did what, as part of the current transaction if there is one.

    Other writers wait until that transaction ends, so make this call the last one in it. Values in `detail`
    are converted to JSON. Never pass a key, a voter or a selection.
    """
    with transaction.atomic():
        _lock_chain()
        row = Record(
            at=timezone.now(),
            actor=_as_text(actor, 200),
            action=_as_text(action, 60),
            poll_code=_as_text(poll_code, 16),
            detail=_as_json(detail),
        )
        before = Record.objects.order_by("-pk").values_list("digest", flat=True).first()
        row.digest = digest_of(row, before or "")
        row.save(force_insert=True)
        logged = {"record": row.pk, "action": row.action, "digest": row.digest}
        transaction.on_commit(lambda: logger.info("recorded", extra=logged))
    return row


def digest_of(row: Record, before: str) -> str:
    """Return the SHA-256 of the row's content and the previous digest, both as canonical JSON."""
    at = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    content = [before, at, row.actor, row.action, row.poll_code, row.detail]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class ChainReport:
    """The outcome of a check of the whole chain."""

    rows: int = 0
    last: str = ""  # the last row's digest
    broken: list[int] = field(default_factory=list)  # ids of rows that don't follow from the row before
    found: bool = False  # whether the known digest is in the chain


def verify_chain(known: str = "") -> ChainReport:
    """Recompute every digest of the chain; `known` is a digest that should be in it."""
    report = ChainReport(found=not known)
    last = 0
    while rows := list(Record.objects.filter(pk__gt=last).order_by("pk")[:_CHUNK_ROWS]):
        last = rows[-1].pk
        for row in rows:
            report.rows += 1
            if digest_of(row, report.last) != row.digest:
                report.broken.append(row.pk)
            # Continue from the stored digest, so that each break is reported once.
            report.last = row.digest
            report.found = report.found or row.digest == known
    return report


def _lock_chain() -> None:
    """Lock the chain until the transaction ends. SQLite needs no lock with transaction_mode IMMEDIATE."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_KEY])


def _as_json(value: Any) -> Any:
    """Convert to JSON types that every database returns unchanged. Floats therefore become text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_as_text(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_as_json(item) for item in value]
    return _as_text(value)


def _as_text(value: Any, length: int | None = None) -> str:
    """Convert to text without NUL and lone surrogates, which PostgreSQL can't store."""
    return str(value).replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:length]
