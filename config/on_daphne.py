"""Serving with Daphne, the ASGI server of the Channels project."""

from __future__ import annotations

import socket

from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from django.utils.module_loading import import_string

from config.dated import Dated
from config.keepalive import PongNowAndThen
from config.web import GRACEFUL_SECONDS, WEBSOCKET_MAX_BYTES


def run(listener: socket.socket) -> None:
    WebSocketProtocol.onPing = PongNowAndThen.onPing
    Server(
        application=Dated(import_string(settings.ASGI_APPLICATION)),
        endpoints=[f"fd:fileno={listener.fileno()}"],
        signal_handlers=True,
        application_close_timeout=GRACEFUL_SECONDS,
        websocket_max_message_size=WEBSOCKET_MAX_BYTES,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if settings.TRUSTED_PROXIES else None,
        server_name="",
        verbosity=0,
    ).run()
