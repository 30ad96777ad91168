"""The client's address, as far as trusted proxies vouch for it, and our own public address.

Anybody can send X-Forwarded-For. This header is therefore read from its end, and only while its addresses are
those of proxies in settings.TRUSTED_PROXIES.
"""

from __future__ import annotations

import functools
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from django.http import HttpRequest

FORWARDED_FOR = "X-Forwarded-For"

#: Networks in text form, hashable for the caches below.
Networks = tuple[str, ...]
_V4_IN_V6 = bytes(10) + b"\xff\xff"
_ALL_NETWORKS = ("0.0.0.0/0", "::/0")
#: At most this many entries of X-Forwarded-For are read. No chain of proxies is longer.
MAX_HOPS = 20
#: The maximum length of an address with zone, brackets and port. A longer text is never cached.
_MAX_LENGTH = 80


def public_url(request: HttpRequest, path: str = "/") -> str:
    """Return a page's URL for other people: under PUBLIC_URL if set, else under this request's host."""
    if settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL}{path}"
    return request.build_absolute_uri(path)


@functools.cache
def _proxies() -> Networks:
    return _ALL_NETWORKS if "*" in settings.TRUSTED_PROXIES else tuple(settings.TRUSTED_PROXIES)


def client_address(peer: str | None, forwarded: str | None = None) -> str:
    """Return the client's address in canonical form; "" if unknown.

    peer: the other end of the connection. forwarded: X-Forwarded-For; join several with commas.
    """
    address = canonical_address(peer or "")
    # The result isn't cached by header: a header may be 60 kB long and different in every request.
    for hop in reversed((forwarded or "").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        if not address or not _is_proxy(address, _proxies()):
            break
        told = canonical_address(hop)
        if not told:
            break  # not an address: return the address of the proxy that sent it
        address = told
    return address


def canonical_address(text: str) -> str:
    """Return an address in its one canonical form, without port or zone; "" if it isn't an address."""
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
    """Whether the other end of the connection is a trusted proxy."""
    address = canonical_address(peer or "")
    return bool(address) and _is_proxy(address, _proxies())


@functools.lru_cache(16_384)
def _is_proxy(address: str, proxies: Networks) -> bool:
    return in_networks(address, proxies)


def in_networks(address: str, networks: Networks) -> bool:
    """Whether a canonical address is in one of these networks; raise ValueError if a network is malformed."""
    packed = _packed(address)
    number = int.from_bytes(packed, "big")
    return any(number & mask == first for mask, first in _masks(networks)[len(packed)])


def site_network(address: str) -> str:
    """Return the /24 (IPv4) or /48 (IPv6) of a canonical address: the largest network of one site."""
    packed = _packed(address)
    if len(packed) == 4:
        return f"{inet_ntop(AF_INET, packed[:3] + bytes(1))}/24"
    return f"{inet_ntop(AF_INET6, packed[:6] + bytes(10))}/48"


def client_network(address: str) -> str:
    """Return the IPv4 address, or the IPv6 /64: a client can use any address in it."""
    packed = _packed(address)
    if len(packed) == 4:
        return address
    return f"{inet_ntop(AF_INET6, packed[:8] + bytes(8))}/64"


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


@functools.lru_cache(1000)
def _masks(networks: Networks) -> dict[int, list[tuple[int, int]]]:
    """Return the networks as pairs (mask, first address), grouped by address length: 4 or 16 bytes."""
    found: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
    for text in networks:
        network = ip_network(text.strip(), strict=False)
        pair = int(network.netmask), int(network.network_address)
        found[network.max_prefixlen // 8].append(pair)
    return found
