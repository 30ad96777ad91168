"""Serving with Daphne, the ASGI server of the Channels project."""

from __future__ import annotations

import asyncio
import socket
import time

from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from django.utils.module_loading import import_string

from config.dated import Dated
from config.web import GRACEFUL_SECONDS, WEBSOCKET_MAX_BYTES

#: Messages of one client that wait for the application: from so many on it is not read any further, until
#: they are down to so many. How often (seconds) that is looked at.
CLOGGED, CLEAR, LOOK_SECONDS = 64, 16, 0.02


class Connection(WebSocketProtocol):
    """Daphne's, made to bear a client that sends without end and reads nothing."""

    answered_at = float("-inf")
    held_up = False

    def onPing(self, payload: bytes) -> None:
        """One answer a second: RFC 6455 (5.5.3) asks for one to the newest ping only."""
        now = time.monotonic()
        if now - self.answered_at >= 1.0:
            self.answered_at = now
            self.sendPong(payload)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN:
            return  # the application has closed it: nobody would take this out of the queue
        super().onMessage(payload, isBinary)
        if not self.held_up and self.application_queue.qsize() >= CLOGGED:
            self.held_up = True
            self.transport.pauseProducing()
            self._read_on_when_clear()

    def _read_on_when_clear(self) -> None:
        if self.application_queue.qsize() > CLEAR and self.state == self.STATE_OPEN:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._read_on_when_clear)
        else:
            self.held_up = False
            self.transport.resumeProducing()

    def serverClose(self, code: int | None = None) -> None:
        """Daphne itself knows only the codes of a client; 1008 is a server's too (RFC 6455, 7.4.1)."""
        self.sendCloseFrame(code=1000 if code is None else code)


def run(listener: socket.socket) -> None:
    WebSocketFactory.protocol = Connection
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
