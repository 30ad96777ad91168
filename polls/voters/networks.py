"""Parse and normalize the networks of a poll's venues, as people write them."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from django.utils.translation import gettext as _

from polls.text.truncation import shortened

MAX_NETWORKS = 100
#: The shortest prefixes allowed, by IP version. A typo such as /2 for /24 covers a quarter of the internet.
_MIN_PREFIX_LENGTH = {4: 8, 6: 16}


def canonical_networks(texts: Iterable[str]) -> list[str]:
    """Return each network once, in canonical form and in the given order. A text may be a single address.

    Raises ValueError with a sentence for people if a text isn't a network, or the network is too large.
    """
    found = list(dict.fromkeys(str(parse_network(text)) for text in texts))
    if len(found) > MAX_NETWORKS:
        raise ValueError(_("At most %(most)s networks.") % {"most": MAX_NETWORKS})
    return found


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Parse a network. Raise ValueError, with a sentence for people, for an invalid or too large one."""
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
    """Convert an IPv4-mapped network (::ffff:198.51.100.0/120) to IPv4, the form of clients' addresses."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))
