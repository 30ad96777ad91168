"""A fast WebSocket handshake, since 5,000 viewers may reconnect in the same second.

uvicorn serializes the parsed request, parses it again, and allocates everything that a connection could need.
This work is half the cost of a viewer's arrival. This module answers a handshake (RFC 6455, 4.2.1) from the
headers already parsed. The answer agrees to no subprotocol and no extension.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from config.protocols.websocket_connection import WebSocketConnection
from realtime.handover import HAND_OVER

if TYPE_CHECKING:
    from realtime.handover import Connection, ConnectionListener

logger = logging.getLogger("uvicorn.error")

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SINGLE_HEADERS = frozenset((b"sec-websocket-key", b"sec-websocket-version", b"upgrade", b"host", b"origin"))
UNSUPPORTED_HEADERS = frozenset((b"content-length", b"transfer-encoding", b"expect"))
#: At most this many messages may wait for the application. If more messages wait, the connection is aborted.
MAX_UNREAD = 100
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
NORMAL, INTERNAL_ERROR = 1000, 1011


def accept_key_for(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """Return the value of Sec-WebSocket-Accept, or None if the handshake is malformed."""
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in UNSUPPORTED_HEADERS or (name in SINGLE_HEADERS and name in seen):
            return None
        seen[name] = value
    key = seen.get(b"sec-websocket-key", b"")
    if seen.get(b"sec-websocket-version") != b"13" or b"host" not in seen:
        return None
    try:
        if len(key) != 24 or len(base64.b64decode(key, validate=True)) != 16:
            return None
    except binascii.Error:
        return None
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


class WebSocketHandshake:
    """The ASGI side of a WebSocket until it is handed over or closed. Binary messages are dropped."""

    def __init__(
        self,
        scope: dict[str, Any],
        url: bytes,
        connection: WebSocketConnection,
        head: bytes,
        early_data: bytes = b"",
    ) -> None:
        raw_path, _, query = url.partition(b"?")
        path = raw_path.decode("ascii")
        root = scope["root_path"]
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": scope["asgi"]["version"], "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if scope["scheme"] == "https" else "ws",
            "server": scope["server"],
            "client": scope["client"],
            "root_path": root,
            "path": root + (unquote(path) if "%" in path else path),
            "raw_path": root.encode("ascii") + raw_path,
            "query_string": query,
            "headers": scope["headers"],
            "subprotocols": [],
            "state": scope["state"],
            "extensions": {HAND_OVER: self.hand_over},
        }
        self._connection = connection
        self._head = head
        self._early_data = early_data  # frames that came with the handshake
        self._accepted = self._closed = False
        self._unread: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._reader: asyncio.Future[None] | None = None

    async def run(self, app: Any) -> None:
        connection = self._connection
        scope, self.scope = self.scope, {}  # break the reference cycle through `hand_over`
        try:
            await app(scope, self.receive, self.send)
        except BaseException:
            logger.exception("Exception in ASGI application\n")
            self._end(FAILED, INTERNAL_ERROR)
            return
        if connection.listener is self or not self._accepted:
            self._end(FAILED, NORMAL)

    async def receive(self) -> dict[str, Any]:
        while not self._unread:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._unread.popleft()

    async def send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept" and not self._accepted:
            self._accept(message.get("headers") or ())
        elif kind == "websocket.close":
            self._end(FORBIDDEN, message.get("code") or NORMAL)
        elif kind == "websocket.send" and self._accepted:
            text, data = message.get("text"), message.get("bytes")
            self._connection.write_message(
                text.encode() if text is not None else data or b"", text is not None
            )
        else:
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")

    def hand_over(self, listener: ConnectionListener) -> Connection | None:
        connection = self._connection
        if not self._accepted or self._closed or connection.transport.is_closing():
            return None
        connection.listener = listener
        if connection.writing_paused:
            listener.on_writing_paused()
        for message in self._unread:  # messages from before the handover
            asyncio.get_running_loop().call_soon(listener.on_message, message.get("text", ""))
        return connection

    def _accept(self, headers: Any) -> None:
        if self._connection.transport.is_closing():
            self.on_closed()
            return
        self._accepted = True
        more = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._connection.transport.write(self._head + more + b"\r\n")
        self._connection.take_over()
        if self._early_data:
            self._connection.data_received(self._early_data)

    def _end(self, refusal: bytes, code: int) -> None:
        if self._closed:
            return
        self._closed = True
        if self._accepted:
            self._connection.close(code)
        else:
            self._connection.write(refusal)
            self._connection.close_transport()

    # The methods of ConnectionListener. This object is the listener until the handover.

    def on_message(self, text: str) -> None:
        self._unread.append({"type": "websocket.receive", "text": text})
        if len(self._unread) > MAX_UNREAD:
            self._connection.abort()
        self._wake()

    def on_writing_paused(self) -> None:
        pass

    def on_writing_resumed(self) -> None:
        pass

    def on_closed(self) -> None:
        self._closed = True
        self._unread.append({"type": "websocket.disconnect", "code": 1006})
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
