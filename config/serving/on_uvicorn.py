"""Serving with uvicorn, uvloop and our protocol classes: the fast path."""

import signal
import socket

import uvicorn
from django.conf import settings
from django.utils.module_loading import import_string

from config.protocols.uvicorn.connection import LandslideHttp
from config.serving.web import BACKLOG, GRACEFUL_SECONDS, WEBSOCKET_MAX_BYTES


def run(listener: socket.socket) -> None:
    # After shutdown uvicorn raises the signal again, which would end the process before our caller cleans up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    LandslideHttp.raw_lane = import_string("config.asgi.raw_lane")
    config = uvicorn.Config(
        settings.ASGI_APPLICATION.replace(".application", ":application"),
        loop="uvloop",
        http=LandslideHttp,
        ws="none",  # LandslideHttp answers handshakes
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
