"""System checks of addresses: stores, origins, networks, host names."""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks

REDIS_SCHEMES = ("redis", "rediss", "unix")
BROKER_SCHEMES = ("redis", "rediss", "sentinel", "amqp", "amqps")
#: Matches what ALLOWED_HOSTS can't contain: a scheme, a path, a space, a port.
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
                f"{name} {origin!r}, which is not an origin.",
                hint="An origin is a scheme and a host, with the port unless it is the default: https://vote.example.org.",
                id="landslide.E007",
            )
    for name in ("TRUSTED_PROXIES", "VENUE_NETWORKS"):
        for text in getattr(settings, name):
            if not is_network(text) and not (name == "TRUSTED_PROXIES" and text == "*"):
                yield checks.Error(
                    f"{name} contains {text!r}, which is not an address or network.",
                    hint="Write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32, separated by commas.",
                    id="landslide.E017",
                )

    for host in settings.ALLOWED_HOSTS:
        if not host or INVALID_HOST.search(host):
            yield checks.Error(
                f"ALLOWED_HOSTS contains {host!r}, which is not a host name.",
                hint="Write names without scheme or port: vote.example.org,.example.org.",
                id="landslide.E018",
            )


def is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0) and (
            text == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
        )
    except ValueError:  # an invalid port
        return False


def is_network(text: str) -> bool:
    try:
        return bool(ip_network(text.strip(), strict=False))
    except ValueError:
        return False


def store_address(name: str, value: str, schemes: tuple[str, ...]) -> Messages:
    """Check the address of a store. The message hides the address, which may contain a password."""
    if not value:
        return
    try:
        parts = urlsplit(value)
        somewhere = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
        # redis-py would use database 0 for any other path.
        numbered = parts.scheme not in ("redis", "rediss") or re.fullmatch(r"/?\d*", parts.path, re.ASCII)
        complete = parts.scheme in schemes and somewhere and bool(numbered)
    except ValueError:
        complete = False
    if not complete:
        yield checks.Error(
            f"{name} is not a valid address.",
            hint=f"Write one of {', '.join(f'{scheme}://' for scheme in schemes)} and then a host.",
            id="landslide.E006",
        )
