"""One web process on a listening socket that somebody else bound.

As a child of the supervisor: `python -m config.serving.web --fd 3 --server uvicorn`.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import socket
import threading

import django
from django.utils.module_loading import import_string

from config.serving import network

logger = logging.getLogger(__name__)

#: Each is imported only where it serves: Daphne alone takes half a second.
SERVERS = {"uvicorn": "config.serving.on_uvicorn.run", "daphne": "config.serving.on_daphne.run"}
DEFAULT_SERVER = "uvicorn"
#: Connections that may wait to be accepted; the system caps it (net.core.somaxconn). One that finds no
#: place tries again after a second, and then after two and four more.
BACKLOG = 16_384
#: Seconds for requests under way when told to stop; WebSockets are closed and reconnect elsewhere.
GRACEFUL_SECONDS = 4
#: What clients send over a WebSocket is a few bytes; the tally goes the other way.
WEBSOCKET_MAX_BYTES = 16 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything else is done, so that a taken port is noticed at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(
        (host.strip("[]"), port), family=family, backlog=BACKLOG, dualstack_ipv6=network.is_dual_stack(host)
    )


def run(server: str, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then return."""
    freeze_garbage_collector()
    # In a thread: a store that hangs must not keep anybody from what needs none.
    threading.Thread(target=fetch_vote_log_state, name="learn", daemon=True).start()
    import_string(SERVERS[server])(listener)


def fetch_vote_log_state() -> None:
    """What addresses are hashed with, and how late it is."""
    for learn in ("polls.votelog.learn_salt", "polls.votelog.learn_clock"):
        try:
            import_string(learn)()
        except Exception:
            logger.warning("not_learnt", extra={"what": learn}, exc_info=True)  # appends ask again


def freeze_garbage_collector() -> None:
    """Keep the garbage collector off the modules; how often it looks stands in config/__init__.py."""
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
