"""A small HTTP/1.1 client for the simulated audience, and WebSockets that only listen.

General HTTP clients take about a millisecond of CPU time for a request, and with them the audience would be
slower than the server. This client keeps connections open, sends one request at a time on each, and leaves
parsing to httptools.
"""

import asyncio
import json
import ssl
from collections import deque
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

REQUEST_SECONDS = 15.0


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        """Parse the body; raise ValueError if it isn't JSON."""
        return json.loads(self.body)

    def header(self, wanted: str) -> str | None:
        return next((value for name, value in self.headers if name == wanted), None)

    def cookie(self, wanted: str) -> str | None:
        """Return the value of a cookie that the answer sets."""
        for name, value in self.headers:
            if name == "set-cookie" and (morsel := SimpleCookie(value).get(wanted)):
                return morsel.value
        return None


class _Connection(asyncio.Protocol):
    """A connection with one request at a time. httptools calls the methods `on_…`."""

    def __init__(self) -> None:
        self.closed = False
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # an answer without a request
            self.transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.connection_lost(ConnectionError(str(error)))
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._answer is None:  # an interim answer
            return
        if not self._parser.should_keep_alive():
            self.close()
        answer, self._answer = self._answer, None
        if not answer.done():
            answer.set_result(Answer(status, self._headers, b"".join(self._body)))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(error or "the server hung up")))

    def close(self) -> None:
        self.closed = True
        self.transport.close()


class Listener(asyncio.Protocol):
    """A WebSocket that answers pings and drops what it receives."""

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._protocol.events_received()  # drop the handshake's answer and the tallies
        self.flush()
        if not self.opened.done():
            if self._protocol.handshake_exc is not None:
                self.opened.set_exception(ConnectionError(str(self._protocol.handshake_exc)))
            else:
                self.opened.set_result(None)

    def flush(self) -> None:
        self.transport.writelines(self._protocol.data_to_send())
        if self._protocol.close_expected():
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the server hung up"))

    def close(self) -> None:
        self._protocol.send_close(1000)
        self.flush()
        self.transport.close()


class Client:
    """Connections to one server. All errors are OSErrors (TimeoutError is one too)."""

    def __init__(self, url: str, connections: int) -> None:
        address = urlsplit(url)
        self._secure = address.scheme == "https"
        self._host, self._port = address.hostname or "", address.port or (443 if self._secure else 80)
        self._netloc, self._prefix = address.netloc.rpartition("@")[2], address.path.rstrip("/")
        self._tls = ssl.create_default_context() if self._secure else None
        self._free: deque[_Connection] = deque()
        self._turns = asyncio.Semaphore(connections)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._netloc}", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        async with self._turns, asyncio.timeout(REQUEST_SECONDS):
            connection = await self._connection()
            try:
                answer = await connection.ask("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            except BaseException:
                connection.close()
                raise
        if not connection.closed:
            self._free.append(connection)
        return answer

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        _, connection = await self._connect(_Connection)
        return connection

    async def _connect(self, make: Any) -> tuple[Any, Any]:
        return await asyncio.get_running_loop().create_connection(make, self._host, self._port, ssl=self._tls)

    async def listen(self, path: str, cookie: str) -> Listener:
        """Open a WebSocket and return once the server has accepted it."""
        scheme = "wss" if self._secure else "ws"
        protocol = ClientProtocol(parse_uri(f"{scheme}://{self._netloc}{self._prefix}{path}"))
        async with asyncio.timeout(REQUEST_SECONDS):
            _, listener = await self._connect(lambda: Listener(protocol))
            request = protocol.connect()
            if cookie:
                request.headers["Cookie"] = cookie
            protocol.send_request(request)
            listener.flush()
            await listener.opened
        return listener

    def close(self) -> None:
        while self._free:
            self._free.pop().close()
