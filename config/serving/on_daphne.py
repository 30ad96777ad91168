"""Serving with Daphne, the ASGI server of the Channels project, within the same limits as on uvicorn."""

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

from config.protocols import limits
from config.protocols.date_header import DateHeader
from config.protocols.throttle import ABORT_AFTER_SECONDS, ALLOWED_BYTES, InputBuffer
from config.serving.web import GRACEFUL_SECONDS, WEBSOCKET_MAX_BYTES
from polls.text.integers import whole_number
from realtime.handover import POLICY_VIOLATION

#: Stop reading from a client when 64 messages wait for the application. Resume at 16; check every 20 ms.
QUEUE_HIGH, QUEUE_LOW, QUEUE_POLL_SECONDS = 64, 16, 0.02


class DaphneChannel(HTTPChannel):
    """HTTP channel with the limits of config/protocols/limits.py.

    Twisted itself has a limit of 16 KiB for headers, and closes a connection that is idle for `timeOut`.
    """

    answering = False  # whether the application is processing a request
    deadline: asyncio.TimerHandle | None = None  # for the rest of the headers, then for the rest of the body

    def dataReceived(self, data: bytes) -> None:
        if self.deadline is None and not self.answering and data.strip(b"\r\n"):
            self.set_deadline(limits.HEAD_SECONDS)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self.set_deadline(limits.BODY_SECONDS)
        self.setTimeout(limits.BODY_PAUSE_SECONDS)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self.cancel_deadline()
        self.answering = True
        self.setTimeout(self.timeOut)  # Twisted restores this timeout after the response
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self.answering = False
        super().requestDone(request)

    def connectionLost(self, reason: Any = None) -> None:
        self.cancel_deadline()
        super().connectionLost(reason)

    def set_deadline(self, seconds: float) -> None:
        self.cancel_deadline()
        loop = asyncio.get_running_loop()
        self.deadline = loop.call_later(seconds, self.refuse, limits.TIMEOUT)

    def cancel_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def refuse(self, answer: bytes) -> None:
        """Send an error response and close the connection."""
        self.cancel_deadline()
        transport: Any = self.transport
        if not transport.disconnecting:
            transport.write(answer)
            self.loseConnection()

    def headerReceived(self, line: bytes) -> bool:
        """Answer a malformed Content-Length with 400. Twisted would raise an exception."""
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and whole_number(value.strip()) is None:
            self._respondToBadRequestAndDisconnect()
            return False
        return bool(super().headerReceived(line))


class DaphneRequest(WebRequest):
    """Request with a limited body. Ignores upgrades to anything but a WebSocket, as http_framing.py does."""

    body_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Store a part of the body. Daphne starts the application only once it has the whole body."""
        self.body_bytes += len(data)
        if self.body_bytes <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            super().handleContentChunk(data)
        else:
            self.channel.refuse(limits.BODY_TOO_LARGE)

    def process(self) -> Any:
        if not self.is_handshake():
            self.requestHeaders.removeHeader(b"Upgrade")
        # With the header Daphne-Root-Path a client could set the prefix of all links, which only
        # FORCE_SCRIPT_NAME may set.
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


class DaphneFactory(HTTPFactory):
    protocol = DaphneChannel

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = DaphneRequest
        protocol.timeOut = limits.FIRST_BYTE_SECONDS
        return protocol


class DaphneWebSocket(WebSocketProtocol):
    """A WebSocket with limits for clients that send too much or don't read."""

    last_pong_at = float("-inf")
    reading_paused = False
    input_buffer: InputBuffer | None = None  # None until the handshake
    early_data = b""  # bytes received before the handshake was answered

    def dataReceived(self, data: bytes) -> None:
        if self.input_buffer is None:
            self.input_buffer = InputBuffer(self)
            super().dataReceived(data)
        elif self.state != self.STATE_CONNECTING:
            self.input_buffer.add(data)
        elif len(self.early_data) + len(data) <= ALLOWED_BYTES:
            self.early_data += data
        else:
            self.transport.abortConnection()

    def onOpen(self) -> None:
        super().onOpen()
        early_data, self.early_data = self.early_data, b""
        if early_data and self.input_buffer is not None:
            self.input_buffer.add(early_data)

    def process_input(self, data: bytes) -> None:
        if self.state != self.STATE_CLOSED:
            super().dataReceived(data)

    def pause_reading(self) -> None:
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if not self.reading_paused:
            self.transport.resumeProducing()

    def on_limit_exceeded(self) -> None:
        """Send a close frame, stop reading, and abort soon, like close_over_limit in config/protocols."""
        self.serverClose(POLICY_VIOLATION)
        self.transport.pauseProducing()
        asyncio.get_running_loop().call_later(ABORT_AFTER_SECONDS, self.transport.abortConnection)

    def abort(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        if self.input_buffer is not None:
            self.input_buffer.clear()
        super().connectionLost(reason)

    def onPing(self, payload: bytes) -> None:
        """Answer at most one ping per second: RFC 6455 (5.5.3) only requires an answer to the newest ping."""
        now = time.monotonic()
        if now - self.last_pong_at >= 1.0:
            self.last_pong_at = now
            self.sendPong(payload)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN:
            return  # the application has closed the WebSocket and reads no more messages
        super().onMessage(payload, isBinary)
        if not self.reading_paused and self.application_queue.qsize() >= QUEUE_HIGH:
            self.reading_paused = True
            self.transport.pauseProducing()
            self._resume_when_drained()

    def _resume_when_drained(self) -> None:
        if self.application_queue.qsize() > QUEUE_LOW and self.state == self.STATE_OPEN:
            asyncio.get_running_loop().call_later(QUEUE_POLL_SECONDS, self._resume_when_drained)
        else:
            self.reading_paused = False
            if self.input_buffer is None or not self.input_buffer.waiting:
                self.transport.resumeProducing()

    def serverClose(self, code: int | None = None) -> None:
        """Close with this code. Daphne's own method refuses 1008, which servers may send (RFC 6455)."""
        self.sendCloseFrame(code=1000 if code is None else code)


def run(listener: socket.socket) -> None:
    if listener.family == socket.AF_INET6:
        raise SystemExit("Daphne can't serve on an IPv6 address: install uvicorn as in requirements.txt.")
    WebSocketFactory.protocol = DaphneWebSocket
    daphne.server.HTTPFactory = DaphneFactory
    Server(
        application=DateHeader(import_string(settings.ASGI_APPLICATION)),
        endpoints=[f"fd:fileno={listener.fileno()}"],
        signal_handlers=True,
        application_close_timeout=GRACEFUL_SECONDS,
        websocket_max_message_size=WEBSOCKET_MAX_BYTES,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if settings.TRUSTED_PROXIES else None,
        server_name="",
        verbosity=0,
    ).run()
