"""Networks as people write them, in one form: a poll's venues."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from django.utils.translation import gettext as _

from polls.text.truncation import shortened

MAX_NETWORKS = 100
#: Wider than any venue: a slip such as /2 for /24 would make one of a good part of the internet.
_MIN_PREFIX_LENGTH = {4: 8, 6: 16}


def canonical_networks(texts: Iterable[str]) -> list[str]:
    """Each network once, in canonical form and in the order given; an address is a network of one.

    ValueError, with a sentence for people, where one of them is no network.
    """
    found = list(dict.fromkeys(str(parse_network(text)) for text in texts))
    if len(found) > MAX_NETWORKS:
        raise ValueError(_("At most %(most)s networks.") % {"most": MAX_NETWORKS})
    return found


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """ValueError, with a sentence for people, where `text` is no network or wider than any venue."""
    shown = text.strip()
    try:
        network = ip_network(shown, strict=False) if "%" not in shown else None
    except ValueError:
        network = None
    if network is None:
        raise ValueError(
            _("“%(text)s” is no network. Write it as 198.51.100.0/24 or 2001:db8:5::/48.")
            % {"text": shortened(shown, 60)}
        )
    network = _unmapped(network)
    if network.prefixlen < _MIN_PREFIX_LENGTH[network.version]:
        raise ValueError(
            _("“%(text)s” is too wide for a venue: at most a /%(widest)s.")
            % {"text": shortened(shown, 60), "widest": _MIN_PREFIX_LENGTH[network.version]}
        )
    return network


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """IPv4 as it looks on an IPv6 socket (::ffff:198.51.100.0/120) is IPv4, as clients' addresses are."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))
