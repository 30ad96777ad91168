"""Where a request came from: through the proxies that the settings name, and through no others.

A header that anybody can send says nothing of who sent it. So X-Forwarded-For is read from
its end, and only as far as those reach who are known to have written it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

Network = IPv4Network | IPv6Network

FORWARDED_FOR = "X-Forwarded-For"


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """ValueError where one is no network. An address is a network of one."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts)


@functools.cache
def _proxies() -> tuple[Network, ...]:
    everybody = ["0.0.0.0/0", "::/0"]
    return networks(everybody if "*" in settings.TRUSTED_PROXIES else settings.TRUSTED_PROXIES)


@functools.lru_cache(65_536)
def client_address(peer: str | None, forwarded: str | None = None) -> str:
    """The client's address in its canonical form; "" where nobody knows it.

    peer: who has connected to us. forwarded: X-Forwarded-For, several joined by commas.
    """
    address = canonical(peer or "")
    for hop in reversed((forwarded or "").split(",")):
        if not address or not within(address, _proxies()):
            break
        told = canonical(hop)
        if not told:
            break  # what our own proxy can't have meant; the last that we know is the proxy itself
        address = told
    return address


def canonical(text: str) -> str:
    """An address without its port and in one form only; "" for what is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def within(address: str, some: Iterable[Network]) -> bool:
    known = ip_address(address)
    return any(known in network for network in some)


def around(address: str) -> str:
    """The network that an address is one of: what one customer or site usually has, a /24 or a /56."""
    return str(ip_network(f"{address}/{56 if ':' in address else 24}", strict=False))


@receiver(setting_changed)  # which only tests do
def _forget(**_: Any) -> None:
    _proxies.cache_clear()
    client_address.cache_clear()
