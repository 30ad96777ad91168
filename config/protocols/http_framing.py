"""Where a request ends and the next one begins, as RFC 9112 has it and uvicorn doesn't.

- An upgrade to anything but a WebSocket is ignored (RFC 9110, 7.8), and the request is read as a plain one,
  with its body. uvicorn drops what came with the head and takes the rest of the body for new requests, which
  behind a proxy that passes the header on come from the proxy (request smuggling).
- A WebSocket's handshake has no body, and waits for no other answer.
- Trailers of a chunked body are no headers (RFC 9110, 6.5.1).
- Of several requests that came at once, the one that is being answered hears that the client has left.
  uvicorn tells only the last one, and an answer to nobody is a traceback in the log.
"""

from __future__ import annotations

import logging
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger("uvicorn.error")

INVALID = "Invalid HTTP request received."


class StrictFramingHttp(HttpToolsProtocol):
    """uvicorn's, which reads a request again without `Upgrade` where that isn't a WebSocket's handshake."""

    is_websocket = False
    early_data = b""  # what came in one read with a handshake, and behind it
    active_cycle: Any = None  # the request that is being answered, where `cycle` is the one that came last

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
                self.early_data = bytes(rest)
                self.handle_websocket_upgrade()
                return
            head = self.head_without_upgrade()
            # Another parser: this one has done with the connection where the request says `close`.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            self.parser.feed_data(head)

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.headers = []  # the scope has the other list, and trailers come into this one
            return
        # Those two as uvicorn sets them, which at this point does nothing else.
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
        """Whether this opens a WebSocket: no body, and no other request of the connection unanswered."""
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
        """The request's head again. CONNECT is an upgrade without a header, and none of ours."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode("ascii")
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        lines += (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"".join(lines) + b"\r\n"


HANDSHAKE_FIELDS = frozenset((b"upgrade", b"content-length", b"transfer-encoding"))
NO_BODY = (b"content-length", b"0")
