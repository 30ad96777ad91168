"""Where a request came from: through the proxies that the settings name, and through no others; and where we
are reached ourselves.

A header that anybody can send says nothing of who sent it. So X-Forwarded-For is read from
its end, and only as far as those reach who are known to have written it.
"""

from __future__ import annotations

import functools
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

if TYPE_CHECKING:
    from django.http import HttpRequest

FORWARDED_FOR = "X-Forwarded-For"

#: Networks as they are written, of which the same few come with every request.
Networks = tuple[str, ...]
_V4_IN_V6 = bytes(10) + b"\xff\xff"
_ALL_NETWORKS = ("0.0.0.0/0", "::/0")
#: Proxies in a row that are looked at. More than any chain has, and a bound on the work of one request.
MAX_HOPS = 20
#: Characters of an address with its zone, brackets and port. Nothing longer is one, or is remembered.
_MAX_LENGTH = 80


def public_url(request: HttpRequest, path: str = "/") -> str:
    """The address of a page for other people: under PUBLIC_URL, else as this request came to us."""
    if settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL}{path}"
    return request.build_absolute_uri(path)


@functools.cache
def _proxies() -> Networks:
    return _ALL_NETWORKS if "*" in settings.TRUSTED_PROXIES else tuple(settings.TRUSTED_PROXIES)


def client_address(peer: str | None, forwarded: str | None = None) -> str:
    """The client's address in its canonical form; "" where nobody knows it.

    peer: who has connected to us. forwarded: X-Forwarded-For, several joined by commas.
    """
    address = canonical_address(peer or "")
    # Not remembered by the header: it may be 60 kB long, and another one with every request.
    for hop in reversed((forwarded or "").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        if not address or not _is_proxy(address, _proxies()):
            break
        told = canonical_address(hop)
        if not told:
            break  # what our own proxy can't have meant; the last that we know is the proxy itself
        address = told
    return address


def canonical_address(text: str) -> str:
    """An address without its port and in one form only; "" for what is none."""
    text = text.strip()
    return _parse_address(text) if len(text) <= _MAX_LENGTH else ""


@functools.lru_cache(16_384)
def _parse_address(text: str) -> str:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        packed = _packed(text.partition("%")[0])
    except (OSError, ValueError):
        return ""
    if packed[:12] == _V4_IN_V6:
        packed = packed[12:]
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def is_proxy(peer: str | None) -> bool:
    """Whether who has connected to us is a proxy that the settings name."""
    address = canonical_address(peer or "")
    return bool(address) and _is_proxy(address, _proxies())


@functools.lru_cache(16_384)
def _is_proxy(address: str, proxies: Networks) -> bool:
    return in_networks(address, proxies)


def in_networks(address: str, networks: Networks) -> bool:
    """Whether a canonical address is in one of these networks. ValueError where one is no network."""
    packed = _packed(address)
    number = int.from_bytes(packed, "big")
    return any(number & mask == first for mask, first in _masks(networks)[len(packed)])


def site_network(address: str) -> str:
    """The network that a canonical address is in: what one site has at most, a /24 or a /48."""
    packed = _packed(address)
    if len(packed) == 4:
        return f"{inet_ntop(AF_INET, packed[:3] + bytes(1))}/24"
    return f"{inet_ntop(AF_INET6, packed[:6] + bytes(10))}/48"


def client_network(address: str) -> str:
    """What one client has at least: its IPv4 address, or all addresses of its IPv6 subnet, a /64."""
    packed = _packed(address)
    if len(packed) == 4:
        return address
    return f"{inet_ntop(AF_INET6, packed[:8] + bytes(8))}/64"


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


@functools.lru_cache(1000)
def _masks(networks: Networks) -> dict[int, list[tuple[int, int]]]:
    """By the bytes of an address, (mask, first address) of each network."""
    found: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
    for text in networks:
        network = ip_network(text.strip(), strict=False)
        pair = int(network.netmask), int(network.network_address)
        found[network.max_prefixlen // 8].append(pair)
    return found


@receiver(setting_changed)  # which only tests do
def _forget(**_: Any) -> None:
    _proxies.cache_clear()
