"""Serving with Daphne, the ASGI server of the Channels project."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from django.utils.module_loading import import_string
from twisted.web.http import HTTPChannel

from config.protocols.date_header import Dated
from config.protocols.throttle import ALLOWED_BYTES, GOODBYE_SECONDS, Inbox
from config.serving.web import GRACEFUL_SECONDS, WEBSOCKET_MAX_BYTES
from polls.text.integers import whole_number
from realtime.handover import POLICY_VIOLATION

#: Messages of one client that wait for the application: from so many on it is not read any further, until
#: they are down to so many. How often (seconds) that is looked at.
CLOGGED, CLEAR, LOOK_SECONDS = 64, 16, 0.02


class Channel(HTTPChannel):
    """Twisted's, which answers a length that it can't read instead of failing."""

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and whole_number(value.strip()) is None:
            self._respondToBadRequestAndDisconnect()
            return False
        return bool(super().headerReceived(line))


class Request(WebRequest):
    """Daphne's, which takes no other request than a WebSocket's handshake for one, as on uvicorn."""

    def process(self) -> Any:
        if not self.is_handshake():
            self.requestHeaders.removeHeader(b"Upgrade")
        # Daphne believes anybody that it is mounted there, and pages would link there: see FORCE_SCRIPT_NAME.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        return super().process()

    def is_handshake(self) -> bool:
        connection = b",".join(self.values(b"Connection")).lower().split(b",")
        return (
            self.method == b"GET"
            and self.clientproto == b"HTTP/1.1"
            and [value.lower() for value in self.values(b"Upgrade")] == [b"websocket"]
            and b"upgrade" in [token.strip() for token in connection]
            and not self.values(b"Transfer-Encoding")
            and self.values(b"Content-Length") in ([], [b"0"])
        )

    def values(self, name: bytes) -> list[bytes]:
        return list(self.requestHeaders.getRawHeaders(name, []))


class Factory(HTTPFactory):
    protocol = Channel

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class Connection(WebSocketProtocol):
    """Daphne's, made to bear a client that sends without end and reads nothing."""

    answered_at = float("-inf")
    held_up = False
    inbox: Inbox | None = None  # from the handshake on
    early = b""  # what came before the handshake was answered

    def dataReceived(self, data: bytes) -> None:
        if self.inbox is None:
            self.inbox = Inbox(self)
            super().dataReceived(data)
        elif self.state != self.STATE_CONNECTING:
            self.inbox.add(data)
        elif len(self.early) + len(data) <= ALLOWED_BYTES:
            self.early += data
        else:
            self.transport.abortConnection()

    def onOpen(self) -> None:
        super().onOpen()
        early, self.early = self.early, b""
        if early and self.inbox is not None:
            self.inbox.add(early)

    def take_in(self, data: bytes) -> None:
        if self.state != self.STATE_CLOSED:
            super().dataReceived(data)

    def stop_reading(self) -> None:
        self.transport.pauseProducing()

    def read_on(self) -> None:
        if not self.held_up:
            self.transport.resumeProducing()

    def too_talkative(self) -> None:
        """Say why, and hang up without reading on, as config/protocols/websocket_connection.py does."""
        self.serverClose(POLICY_VIOLATION)
        self.transport.pauseProducing()
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self.transport.abortConnection)

    def abort(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        if self.inbox is not None:
            self.inbox.clear()
        super().connectionLost(reason)

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
            if self.inbox is None or not self.inbox.waiting:
                self.transport.resumeProducing()

    def serverClose(self, code: int | None = None) -> None:
        """Daphne itself knows only the codes of a client; 1008 is a server's too (RFC 6455, 7.4.1)."""
        self.sendCloseFrame(code=1000 if code is None else code)


def run(listener: socket.socket) -> None:
    WebSocketFactory.protocol = Connection
    daphne.server.HTTPFactory = Factory
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
