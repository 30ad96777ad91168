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
    """This machine's address in the local network, or 127.0.0.1 if it has none.

    Connecting a UDP socket sends nothing; it asks the system which address it would send from.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def shown_host(host: str) -> str:
    """The host to print for a server bound to `host`: one that a phone can open."""
    if is_wildcard(host):
        return lan_address()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def allowed_hosts(host: str) -> list[str]:
    """The Host headers that a server bound to `host` answers to, unless ALLOWED_HOSTS says otherwise."""
    if is_loopback(host):
        return LOCAL_HOSTS
    name = socket.gethostname().lower()
    return list(dict.fromkeys([*LOCAL_HOSTS, name, f"{name}.local", lan_address(), shown_host(host)]))


def allow_many_connections() -> None:
    """Every viewer is an open file, and the usual limit of 1024 is one that a process may raise by itself."""
    if sys.platform != "win32":
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS calls it unlimited and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
