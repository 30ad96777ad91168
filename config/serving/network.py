"""Names and addresses under which this machine is reached."""

from __future__ import annotations

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
    """This machine's address in the local network, or 127.0.0.1 if it has none."""
    return _outgoing_address(socket.AF_INET, "192.0.2.1") or "127.0.0.1"


def lan_address_v6() -> str:
    """The same in IPv6, in brackets; [::1] if it has none."""
    return f"[{_outgoing_address(socket.AF_INET6, '2001:db8::1') or '::1'}]"


def _outgoing_address(family: socket.AddressFamily, elsewhere: str) -> str | None:
    """Connecting a UDP socket sends nothing; it asks the system which address it would send from."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def is_dual_stack(host: str) -> bool:
    """Whether a server bound to `host` is reached by IPv4 and IPv6: `::` means all there is."""
    return host in ("::", "[::]") and socket.has_dualstack_ipv6()


def display_host(host: str) -> str:
    """The host to print for a server bound to `host`: one that a phone can open."""
    if not is_wildcard(host):
        return f"[{host}]" if ":" in host and not host.startswith("[") else host
    if ":" not in host:
        return lan_address()
    by_v4 = is_dual_stack(host) and not is_loopback(lan_address())
    return lan_address() if by_v4 else lan_address_v6()


def allowed_hosts(host: str) -> list[str]:
    """The Host headers that a server bound to `host` answers to, unless ALLOWED_HOSTS says otherwise."""
    if is_loopback(host):
        return LOCAL_HOSTS
    name = socket.gethostname().lower()
    own = [lan_address(), *([lan_address_v6()] if ":" in host else []), display_host(host)]
    return list(dict.fromkeys([*LOCAL_HOSTS, name, f"{name}.local", *own]))


def raise_open_file_limit() -> None:
    """Every viewer is an open file, and the usual limit of 1024 is one that a process may raise by itself."""
    if sys.platform != "win32":
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS calls it unlimited and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
