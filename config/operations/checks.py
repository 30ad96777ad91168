"""System checks. Each check refuses a setting that can't work, and says what to set instead."""

import math
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks

from config.env import ENGINES, SQLITE
from config.operations.address_checks import addresses
from config.operations.logging import FORMATS, LEVELS

#: For each environment variable, the name of its setting and the maximum. All values must be above 0.
UPPER_LIMITS: dict[str, tuple[str, float]] = {
    "PORT": ("PORT", 65_535),
    "CAST_MAX_BYTES": ("CAST_MAX_BYTES", math.inf),
    "BATCH_MAX_BYTES": ("BATCH_MAX_BYTES", math.inf),
    "BATCH_MAX_BALLOTS": ("BATCH_MAX_BALLOTS", math.inf),
    "CAST_QUEUE_LIMIT": ("CAST_QUEUE_LIMIT", math.inf),
    "BACKLOG_LIMIT": ("BACKLOG_LIMIT", math.inf),
    "CAST_DEADLINE_SECONDS": ("CAST_DEADLINE_SECONDS", 3600),
    "PROOF_WORK": ("PROOF_WORK", 1_000_000_000),
    "COUNT_BATCH": ("COUNT_BATCH", 1_000_000),
    "SWEEP_SECONDS": ("SWEEP_SECONDS", 3600),
    "WORKER_THREADS": ("CELERY_WORKER_CONCURRENCY", 1000),
    "DATABASE_POOL_SIZE": ("DATABASE_POOL_SIZE", 10_000),
    "DATABASE_STATEMENT_SECONDS": ("DATABASE_STATEMENT_SECONDS", 86_400),
    "LOGIN_FAILURES": ("AXES_FAILURE_LIMIT", math.inf),
    "LOGIN_LOCKOUT_MINUTES": ("AXES_COOLOFF_TIME", 525_600),
}
#: A century. Subtracting a much longer time from today's date would overflow.
RETENTION_DAYS_AT_MOST = 36_525

#: The format that polls.votelog.rate_limits parses.
RATE_LIMIT = re.compile(r"(voter|address|network)=[1-9]\d{0,8}/[1-9]\d{0,5}")

HEADER = re.compile(r"[A-Za-z0-9-]+")
Messages = Iterator[checks.CheckMessage]


def check_settings(**_kwargs: Any) -> list[checks.CheckMessage]:
    return [
        *choices(),
        *vote_log(),
        *addresses(),
        *processes(),
        *limits(),
        *security(),
        *data_folder(),
        *audit(),
    ]


def choices() -> Messages:
    for name, allowed, code in (
        ("VOTE_LOG", sorted(settings.VOTE_LOG_BACKENDS), "landslide.E001"),
        ("VOTE_LOG_DURABILITY", ("always", "everysec"), "landslide.E003"),
        ("LOG_FORMAT", FORMATS, "landslide.E013"),
        ("LOG_LEVEL", LEVELS, "landslide.E014"),
        ("ADMIN_TWO_FACTOR", ("required", "optional"), "landslide.E015"),
    ):
        if (value := getattr(settings, name)) not in allowed:
            yield checks.Error(
                f"{name}={value!r} is unknown.",
                hint=f"Set {name} to one of: {', '.join(allowed)}. docs/settings.md explains them.",
                id=code,
            )


def vote_log() -> Messages:
    if settings.VOTE_LOG == "redis" and not settings.VOTE_LOG_REDIS_URL:
        yield checks.Error(
            "VOTE_LOG=redis needs the address of a Redis.",
            hint="Set REDIS_URL or VOTE_LOG_REDIS_URL (redis://127.0.0.1:6379/0), or VOTE_LOG=database.",
            id="landslide.E002",
        )
    if not 1 <= settings.VOTE_LOG_PARTITIONS <= 256:
        yield checks.Error(
            f"VOTE_LOG_PARTITIONS={settings.VOTE_LOG_PARTITIONS} is out of range.",
            hint="Set it to a number from 1 to 256; 4 is plenty for one Redis.",
            id="landslide.E004",
        )
    for name in ("VOTE_LOG_PREFIX", "REDIS_PREFIX"):
        prefix = getattr(settings, name)
        if set(prefix) & set("{} \t\n") or not prefix:
            yield checks.Error(
                f"{name}={prefix!r} can't be the prefix of a Redis key.",
                hint="Use letters, digits, dashes and colons; braces would break the partitions' hash tags.",
                id="landslide.E005",
            )


def processes() -> Messages:
    engine = settings.DATABASES["default"]["ENGINE"]
    if engine not in ENGINES:
        yield checks.Error(
            f"DATABASE_URL names {engine}, which Landslide doesn't support.",
            hint="Use postgres://…, or leave DATABASE_URL out for SQLite in DATA_DIR.",
            id="landslide.E008",
        )
    if engine == SQLITE and not settings.EMBEDDED:
        yield checks.Error(
            "With REDIS_URL there are several processes, but SQLite has only one writer at a time.",
            hint="Set DATABASE_URL=postgres://user:password@host/name, or leave REDIS_URL out.",
            id="landslide.E009",
        )
    if settings.EMBEDDED and (settings.BROKER_URL or settings.CHANNEL_REDIS_URL):
        yield checks.Error(
            "BROKER_URL or CHANNEL_REDIS_URL is set without REDIS_URL, so it is ignored.",
            hint="Set REDIS_URL too: it switches from one process to several.",
            id="landslide.E010",
        )


def limits() -> Messages:
    for name, (setting, most) in UPPER_LIMITS.items():
        value = getattr(settings, setting)
        if isinstance(value, timedelta):
            value = value.total_seconds() / 60
        if not 0 < value <= most:
            bound = "" if most == math.inf else f" and at most {most}"
            yield checks.Error(
                f"{name} must be above 0{bound}.",
                hint="docs/settings.md has the default.",
                id="landslide.E011",
            )
    for text in settings.RATE_LIMITS:
        if not RATE_LIMIT.fullmatch(text):
            yield checks.Error(
                f"RATE_LIMITS contains {text!r}, which is not a limit.",
                hint="Write voter=, address= or network= and ballots/seconds, such as address=600/60.",
                id="landslide.E016",
            )
    if settings.BATCH_MAX_BYTES > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        yield checks.Error(
            "BATCH_MAX_BYTES is larger than any request body may be.",
            hint="Set it to 10485760 or less.",
            id="landslide.E012",
        )


def audit() -> Messages:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", settings.AUDIT_KEY):
        yield checks.Error(
            "AUDIT_KEY is not 64 hexadecimal digits, so it can't sign audit bundles.",
            hint="Make one with `openssl rand -hex 32` and keep it, or leave AUDIT_KEY unset.",
            id="landslide.E021",
        )
    if not 0 <= settings.RETENTION_DAYS <= RETENTION_DAYS_AT_MOST:
        yield checks.Error(
            f"RETENTION_DAYS must be from 0 to {RETENTION_DAYS_AT_MOST}.",
            hint="Set it to 0 to keep everything.",
            id="landslide.E022",
        )


def data_folder() -> Messages:
    folder = Path(settings.DATA_DIR)
    if folder.is_dir() and folder.stat().st_mode & 0o077:
        yield checks.Warning(
            "Other users of this machine can read DATA_DIR, and Landslide can't change its mode.",
            hint="Use a folder of Landslide's own user: it contains the keys and the database.",
            id="landslide.W004",
        )


def security() -> Messages:
    if settings.PROXY_SSL_HEADER and not HEADER.fullmatch(settings.PROXY_SSL_HEADER):
        yield checks.Error(
            f"PROXY_SSL_HEADER={settings.PROXY_SSL_HEADER!r} is not a header name.",
            hint="Set it to a name such as X-Forwarded-Proto.",
            id="landslide.E019",
        )
    if settings.SECURE_HSTS_SECONDS < 0:
        yield checks.Error("HSTS_SECONDS is below 0.", hint="Set it to 0 for none.", id="landslide.E020")
    for name, keys in (
        ("SECRET_KEY", [settings.SECRET_KEY]),
        ("SECRET_KEY_FALLBACKS", settings.SECRET_KEY_FALLBACKS),
    ):
        if all(key.strip() for key in keys):
            continue
        yield checks.Error(
            f"{name} is blank: anybody could forge signatures.",
            hint="Set it to a long random text, or leave it out.",
            id="landslide.E023",
        )
    if settings.PROXY_SSL_HEADER and not settings.HTTPS:
        yield checks.Warning(
            "PROXY_SSL_HEADER is set, so a proxy ends TLS, but HTTPS is not set.",
            hint="Set HTTPS=true, so that cookies are only sent over https.",
            id="landslide.W001",
        )
    if settings.SECURE_HSTS_SECONDS > 0 and not settings.HTTPS:
        yield checks.Warning(
            "HSTS_SECONDS has no effect over plain http.",
            hint="Set HTTPS=true, or leave it out.",
            id="landslide.W002",
        )
    if settings.HTTPS and not settings.PROXY_SSL_HEADER and not settings.TRUSTED_PROXIES:
        yield checks.Warning(
            "HTTPS is set, but no proxy that ends TLS is configured. Requests seem to come over plain http,"
            " so ballots from https:// pages are refused as coming from another site.",
            hint="Set TRUSTED_PROXIES to the proxy's address, and PROXY_SSL_HEADER=X-Forwarded-Proto.",
            id="landslide.W003",
        )
