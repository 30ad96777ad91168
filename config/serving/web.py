"""One web process on a listening socket: `python -m config.serving.web --fd 3 --server uvicorn`."""

import argparse
import gc
import logging
import os
import socket
import threading
from collections.abc import Callable

import django
from django.utils.module_loading import import_string

from config.serving import network

logger = logging.getLogger(__name__)

#: Dotted names, so that only the chosen server is imported. Importing Daphne takes half a second.
SERVERS = {"uvicorn": "config.serving.on_uvicorn.run", "daphne": "config.serving.on_daphne.run"}
DEFAULT_SERVER = "uvicorn"
#: At most this many connections wait to be accepted. The kernel caps it at net.core.somaxconn. If this queue
#: is full, a client retries after 1 s, then after 2 s, then after 4 s.
BACKLOG = 16_384
#: Pending requests have this many seconds at shutdown. WebSockets are closed, and their clients reconnect.
GRACEFUL_SECONDS = 4
#: The largest WebSocket message from a client. Viewers send a few bytes.
WEBSOCKET_MAX_BYTES = 16 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Bind the socket. Called first, so that a port in use is reported at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(
        (host.strip("[]"), port), family=family, backlog=BACKLOG, dualstack_ipv6=network.is_dual_stack(host)
    )


def run(server: str, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then return."""
    freeze_garbage_collector()
    # Use a thread, because a store that hangs must not delay requests that don't need it.
    threading.Thread(target=fetch_vote_log_state, name="sync", daemon=True).start()
    runner(server)(listener)


def runner(server: str) -> Callable[[socket.socket], None]:
    """Return the function that runs this server, or Daphne if uvicorn lacks a name that we need."""
    if server == "uvicorn" and not import_string("config.protocols.uvicorn.private_names.is_supported")():
        logger.warning("uvicorn_unknown: serving with Daphne, which is slower")
        server = "daphne"
    run_server: Callable[[socket.socket], None] = import_string(SERVERS[server])
    return run_server


def fetch_vote_log_state() -> None:
    """Fetch the salt of address hashes and the clock offset from the vote log."""
    for sync in ("polls.votelog.sync_salt", "polls.votelog.sync_clock"):
        try:
            import_string(sync)()
        except Exception:
            # The next append fetches the salt and the offset.
            logger.warning("vote_log_sync_failed", extra={"what": sync}, exc_info=True)


def freeze_garbage_collector() -> None:
    """Exempt all objects so far from garbage collection (see config/__init__.py)."""
    gc.collect()
    gc.freeze()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--server", choices=SERVERS, default=DEFAULT_SERVER)
    options = parser.parse_args()

    django.setup()
    run(options.server, socket.socket(fileno=options.fd))


if __name__ == "__main__":
    main()
