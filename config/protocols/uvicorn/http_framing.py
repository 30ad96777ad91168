"""HTTP message framing as RFC 9112 requires it, where uvicorn differs.

- An upgrade to anything but a WebSocket is ignored (RFC 9110, 7.8): the request is read with its body.
  uvicorn drops the part of the body that arrived with the head and parses the rest as new requests. Behind a
  proxy that forwards the Upgrade header, these requests seem to come from the proxy (request smuggling).
- A WebSocket handshake has no body, and all earlier requests of its connection have been answered.
- Trailers of a chunked body don't become headers (RFC 9110, 6.5.1).
- When the client disconnects, the request being answered is notified. With pipelining, uvicorn notifies only
  the last request. Writing a response to a closed connection then logs a traceback.
"""

import logging
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger("uvicorn.error")

INVALID = "Invalid HTTP request received."
HANDSHAKE_FIELDS = frozenset((b"upgrade", b"content-length", b"transfer-encoding"))
NO_BODY = (b"content-length", b"0")


class StrictFramingHttp(HttpToolsProtocol):
    """HTTP protocol that ignores upgrades to anything but a WebSocket."""

    is_websocket = False
    active_cycle: Any = None  # the request being answered; `cycle` is the newest request

    def data_received(self, data: bytes) -> None:
        try:
            self.feed(data)
        except httptools.HttpParserError:
            logger.warning(INVALID)
            self.send_400_response(INVALID)

    def feed(self, data: bytes) -> None:
        rest: Any = data
        while rest:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
            if self.is_websocket:
                self.open_websocket(bytes(rest))
                return
            head = self.head_without_upgrade()
            # A new parser, because after `Connection: close` the old parser accepts no more data.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # uvicorn does the same
            self.parser.feed_data(head)

    def open_websocket(self, early_data: bytes) -> None:
        """Answer a handshake. `early_data` is the bytes that came after the request in the same read."""
        raise NotImplementedError

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.headers = []  # the scope keeps the old list; trailers go into the new list
            return
        # uvicorn's own method does only the next two lines for an upgrade.
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = self.parser.get_http_version()
        self.is_websocket = self.is_handshake()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.active_cycle = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.active_cycle = None
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.active_cycle is not None:
            self.active_cycle.disconnected = True
            self.active_cycle.message_event.set()
            self.active_cycle = None
        super().connection_lost(exc)

    def is_handshake(self) -> bool:
        """Whether this is a WebSocket handshake that has no body and follows no unanswered request."""
        fields = [(name, value) for name, value in self.headers if name in HANDSHAKE_FIELDS]
        return (
            self.scope["method"] == "GET"
            and self.scope["http_version"] == "1.1"
            and [value.lower() for name, value in fields if name == b"upgrade"] == [b"websocket"]
            and all(name == b"upgrade" or (name, value) == NO_BODY for name, value in fields)
            and self.is_idle()
        )

    def is_idle(self) -> bool:
        cycle = cast(Any, self.cycle)
        return cycle is None or cycle.response_complete

    def head_without_upgrade(self) -> bytes:
        """Serialize the head without Upgrade. CONNECT, which upgrades without that header, is refused."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode("ascii")
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        lines += (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"".join(lines) + b"\r\n"
