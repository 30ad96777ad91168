"""One web process on a listening socket that somebody else bound.

As a child of the supervisor: `python -m config.web --fd 3 --server uvicorn`.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket

import django
import uvicorn
from daphne.server import Server as Daphne
from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from django.utils.module_loading import import_string

from config import uvicorn_protocols
from config.dated import Dated
from config.keepalive import PongNowAndThen

SERVERS = ("uvicorn", "daphne")
#: Seconds for requests under way when told to stop; WebSockets are closed and reconnect elsewhere.
GRACEFUL_SECONDS = 4
#: Connections that may wait to be accepted; the system caps it (net.core.somaxconn). One that finds no
#: place tries again after a second, and then after two and four more.
BACKLOG = 16_384
#: What clients send over a WebSocket is a few bytes; the tally goes the other way.
WEBSOCKET_MAX_BYTES = 16 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything else is done, so that a taken port is noticed at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)


def run(server: str, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then return."""
    leave_what_stays_alone()
    {"uvicorn": run_uvicorn, "daphne": run_daphne}[server](listener)


def leave_what_stays_alone() -> None:
    """Keep the garbage collector off the modules, and from looking after every few ballots."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def run_uvicorn(listener: socket.socket) -> None:
    # uvicorn raises the signal again once it has served, which would skip whatever our caller does next.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    http, websocket = uvicorn_protocols.classes()
    if http is uvicorn_protocols.LandslideHttp:
        http.take = import_string("polls.wire.Wire")(import_string("config.asgi.http")).take
    config = uvicorn.Config(
        settings.ASGI_APPLICATION.replace(".application", ":application"),
        loop="uvloop",
        http=http,
        ws=websocket,
        ws_per_message_deflate=False,  # one frame serves all viewers, and memory stays small
        ws_max_size=WEBSOCKET_MAX_BYTES,
        lifespan="off",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.TRUSTED_PROXIES),
        forwarded_allow_ips=settings.TRUSTED_PROXIES,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def run_daphne(listener: socket.socket) -> None:
    WebSocketProtocol.onPing = PongNowAndThen.onPing
    Daphne(
        application=Dated(import_string(settings.ASGI_APPLICATION)),
        endpoints=[f"fd:fileno={listener.fileno()}"],
        signal_handlers=True,
        application_close_timeout=GRACEFUL_SECONDS,
        websocket_max_message_size=WEBSOCKET_MAX_BYTES,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if settings.TRUSTED_PROXIES else None,
        server_name="",
        verbosity=0,
    ).run()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--server", choices=SERVERS, default=SERVERS[0])
    options = parser.parse_args()

    django.setup()
    run(options.server, socket.socket(fileno=options.fd))


if __name__ == "__main__":
    main()
