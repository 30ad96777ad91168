"""Checks that a Redis server is durable enough for a vote log."""

from typing import Any

import redis
from django.conf import settings
from django.utils.translation import gettext as _

from polls.errors import LogUnsuitable


def verify(client: redis.Redis) -> None:
    """Raise LogUnsuitable, with a hint, if Redis could lose acknowledged ballots."""
    info: dict[str, Any] = client.info()
    if int(str(info["redis_version"]).split(".")[0]) < 7:
        raise LogUnsuitable(
            _("Redis %(version)s has no Functions; the vote log needs 7.0 or later.")
            % {"version": info["redis_version"]}
        )
    if not info.get("aof_enabled"):
        raise LogUnsuitable(
            _("Redis keeps no append-only file, so a restart would lose acknowledged ballots."),
            hint="redis-cli CONFIG SET appendonly yes && redis-cli CONFIG SET appendfsync always",
        )
    _verify_config(
        client, "maxmemory-policy", {"noeviction"}, _("Redis may evict ballots when memory is full")
    )
    allowed = {"always", "everysec"} if settings.VOTE_LOG_DURABILITY == "everysec" else {"always"}
    _verify_config(
        client,
        "appendfsync",
        allowed,
        _("Redis doesn't write a ballot to disk before it is acknowledged"),
        _(" (or set VOTE_LOG_DURABILITY=everysec and accept losing a second of ballots in a power cut)"),
    )


def _verify_config(
    client: redis.Redis, name: str, allowed: set[str], problem: str, alternative: str = ""
) -> None:
    try:
        value = client.config_get(name).get(name)
    except redis.ResponseError:
        return  # managed services forbid CONFIG, so durability can't be checked
    if value not in allowed:
        raise LogUnsuitable(
            f"{problem}: {name} is {value}.",
            hint=f"redis-cli CONFIG SET {name} {min(allowed)}{alternative}",
        )
