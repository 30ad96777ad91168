"""What admins, API clients and commands did: written once, in a chain of digests.

The database refuses to change or delete a row (polls/migrations/0006_records_stand). Whoever gets
round that breaks the chain, which `verify_chain` notices. That rows are missing from its end no chain
can show: every digest is logged too, so that whoever keeps the logs elsewhere can ask for the last one.
"""

from __future__ import annotations

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

#: Who acts where nobody is signed in.
SCHEDULE, COMMAND = "schedule", "command"

#: One number for all writers of records: pg_advisory_xact_lock knows only numbers. "Records" in ASCII.
_LOCK = 0x5265636F726473

_CHUNK_ROWS = 2000


def user_actor(user: Any) -> str:
    return f"user {user.get_username()}"


def client_actor(client: Any) -> str:
    """The name of an ApiClient, which is what requests with a key have for `auth`."""
    return f"API client {client.prefix} {client.name}"


def record(actor: str, action: str, poll_code: str = "", **detail: Any) -> Record:
    """Write down who did what, in the transaction that does it where one is under way.

    Other records wait until that transaction ends, so call it last there. `detail` may hold anything that
    can be put into words; never a key, a voter or a selection.
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
        transaction.on_commit(lambda: _log_digest(row))
    return row


def digest_of(row: Record, before: str) -> str:
    """SHA-256 over the row and the digest of the one before, as JSON in its one canonical form."""
    at = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    content = [before, at, row.actor, row.action, row.poll_code, row.detail]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class ChainReport:
    """How many rows there are, which don't follow from the one before, and whether a known one is there."""

    rows: int = 0
    last: str = ""
    broken: list[int] = field(default_factory=list)
    found: bool = False


def verify_chain(known: str = "") -> ChainReport:
    """Follow the chain from its beginning; `known` is a digest that should be in it."""
    report = ChainReport(found=not known)
    last = 0
    while rows := list(Record.objects.filter(pk__gt=last).order_by("pk")[:_CHUNK_ROWS]):
        last = rows[-1].pk
        for row in rows:
            report.rows += 1
            if digest_of(row, report.last) != row.digest:
                report.broken.append(row.pk)
            # On from what stands there, so that each break shows once.
            report.last = row.digest
            report.found = report.found or row.digest == known
    return report


def _lock_chain() -> None:
    """Until the transaction ends. SQLite has one writer at a time anyway (transaction_mode IMMEDIATE)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _log_digest(row: Record) -> None:
    logger.info("recorded", extra={"record": row.pk, "action": row.action, "digest": row.digest})


def _as_json(value: Any) -> Any:
    """What comes out of any database's JSON as it went in; a float needn't."""
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
    """Text that every database can hold."""
    return str(value).replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:length]
