"""System checks of addresses: stores, origins, proxies, hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks

REDIS_SCHEMES = ("redis", "rediss", "unix")
BROKER_SCHEMES = ("redis", "rediss", "sentinel", "amqp", "amqps")
#: What is no host name in the way in which Django compares them: a scheme, a path, a space, a port.
INVALID_HOST = re.compile(r"[/\s@]|^[^\[]*:|\]:")

Messages = Iterator[checks.CheckMessage]


def addresses() -> Messages:
    for name in ("REDIS_URL", "CHANNEL_REDIS_URL", "CACHE_REDIS_URL", "VOTE_LOG_REDIS_URL"):
        yield from store_address(name, getattr(settings, name), REDIS_SCHEMES)
    yield from store_address("BROKER_URL", settings.BROKER_URL, BROKER_SCHEMES)
    for origin in settings.TRUSTED_ORIGINS:
        if not is_origin(origin):
            name = "PUBLIC_URL is" if origin == settings.PUBLIC_URL else "TRUSTED_ORIGINS contains"
            yield checks.Error(
                f"{name} {origin!r}, which is no origin.",
                hint="An origin is scheme and host, and the port if it isn't the usual one: https://vote.example.org.",
                id="landslide.E007",
            )
    for name in ("TRUSTED_PROXIES", "VENUE_NETWORKS"):
        for text in getattr(settings, name):
            if not is_network(text) and not (name == "TRUSTED_PROXIES" and text == "*"):
                yield checks.Error(
                    f"{name} contains {text!r}, which is no address or network.",
                    hint="Write them as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32, with commas between.",
                    id="landslide.E017",
                )

    for host in settings.ALLOWED_HOSTS:
        if not host or INVALID_HOST.search(host):
            yield checks.Error(
                f"ALLOWED_HOSTS contains {host!r}, which is no host name.",
                hint="Write names alone, without scheme or port: vote.example.org,.example.org.",
                id="landslide.E018",
            )


def is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0) and (
            text == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
        )
    except ValueError:  # a port that is none
        return False


def is_network(text: str) -> bool:
    try:
        return bool(ip_network(text.strip(), strict=False))
    except ValueError:
        return False


def store_address(name: str, value: str, schemes: tuple[str, ...]) -> Messages:
    """The value itself stays out of the message: it may hold a password."""
    if not value:
        return
    try:
        parts = urlsplit(value)
        somewhere = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
        # redis-py would take another path for database 0.
        numbered = parts.scheme not in ("redis", "rediss") or re.fullmatch(r"/?\d*", parts.path, re.ASCII)
        complete = parts.scheme in schemes and somewhere and bool(numbered)
    except ValueError:
        complete = False
    if not complete:
        yield checks.Error(
            f"{name} is no address that can be used.",
            hint=f"It begins with one of {', '.join(f'{scheme}://' for scheme in schemes)} and names a host.",
            id="landslide.E006",
        )
