"""This machine's names and addresses, and its limit of open files."""

import contextlib
import ipaddress
import socket
import sys

if sys.platform != "win32":
    import resource

LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(host: str) -> bool:
    return host in ("", "0.0.0.0", "::", "[::]")


def lan_address() -> str:
    """Return this machine's address in the local network, or 127.0.0.1 if it has none."""
    return _outgoing_address(socket.AF_INET, "192.0.2.1") or "127.0.0.1"


def lan_address_v6() -> str:
    """Return this machine's IPv6 address in brackets, or [::1] if it has none."""
    return f"[{_outgoing_address(socket.AF_INET6, '2001:db8::1') or '::1'}]"


def _outgoing_address(family: socket.AddressFamily, elsewhere: str) -> str | None:
    """Return the address that packets to `elsewhere` are sent from. Connecting a UDP socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def is_dual_stack(host: str) -> bool:
    """Whether a server bound to `host` is reachable by IPv4 and IPv6, as `::` is."""
    return host in ("::", "[::]") and socket.has_dualstack_ipv6()


def display_host(host: str) -> str:
    """Return the host to print for a server bound to `host`: one that phones in the network can open."""
    if not is_wildcard(host):
        return f"[{host}]" if ":" in host and not host.startswith("[") else host
    if ":" not in host:
        return lan_address()
    by_v4 = is_dual_stack(host) and not is_loopback(lan_address())
    return lan_address() if by_v4 else lan_address_v6()


def allowed_hosts(host: str) -> list[str]:
    """Return the default ALLOWED_HOSTS of a server bound to `host`."""
    if is_loopback(host):
        return LOCAL_HOSTS
    name = socket.gethostname().lower()
    own = [lan_address(), *([lan_address_v6()] if ":" in host else []), display_host(host)]
    return list(dict.fromkeys([*LOCAL_HOSTS, name, f"{name}.local", *own]))


def raise_open_file_limit() -> None:
    """Raise the soft limit of open files, often 1024, to the hard limit: each viewer is an open file."""
    if sys.platform != "win32":
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS reports "unlimited" but refuses that value
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
