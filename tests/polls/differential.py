"""Send the same request through the lane and through Django, and compare the answers."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from config.operations.request_id import RequestId, given_id
from config.security.body_limit import BodyLimit
from config.serving.django_handler import OneHopHandler
from polls.casting.asgi_lane import AsgiLane
from polls.casting.raw_http_lane import RawHttpLane
from polls.http.raw_get_lane import RawGetLane

Headers = list[tuple[bytes, bytes]]
App = Callable[..., Awaitable[None]]

#: The random value of a new voter cookie or CSRF token, which differs in each answer.
_MINTED = re.compile(rb"^(voter=[A-Za-z0-9_-]{43}|csrftoken=\w+; expires=[^;]+);")


@dataclass(frozen=True)
class Sent:
    path: str
    headers: Headers
    pieces: tuple[bytes, ...] = (b"",)
    method: str = "POST"
    query: bytes = b""
    scheme: str = "http"
    hangs_up: bool = False  # after the pieces, before the end of the body

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("192.0.2.1", 4711),
            "server": ("192.0.2.2", 80),
        }


@dataclass
class Received:
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def header(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self.headers if name == wanted]

    def comparable(self) -> tuple[int, bytes, Headers]:
        """Return the status, the body and the headers, without values that differ in each answer."""
        kept = sorted(
            (name, _MINTED.sub(b"minted;", value) if name == b"set-cookie" else value)
            for name, value in self.headers
            if name not in (b"date", b"x-request-id")
        )
        return self.status, self.body, kept


async def ask(app: App, sent: Sent) -> Received:
    """Call `app` as a server would: `receive` blocks until the client disconnects."""
    received = Received()
    pieces = [
        {"type": "http.request", "body": piece, "more_body": sent.hangs_up or left > 0}
        for left, piece in zip(range(len(sent.pieces) - 1, -1, -1), sent.pieces, strict=True)
    ]

    async def receive() -> dict[str, Any]:
        if pieces:
            return pieces.pop(0)
        if not sent.hangs_up:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not received.status, "answered twice"
            received.status = message["status"]
            received.headers = [(name.lower(), value) for name, value in message.get("headers", ())]
        else:
            assert received.status, "a body before its status"
            received.body += message.get("body", b"")
            received.complete = not message.get("more_body", False)

    await app(sent.scope(), receive, send)
    return received


def in_bytes(sent: Sent, *more: bytes) -> bytes:
    """Return the request as bytes."""
    path = sent.path.encode() + (b"?" + sent.query if sent.query else b"")
    lines = [b"%b %b HTTP/1.1" % (sent.method.encode(), path)]
    lines += (b"%b: %b" % header for header in sent.headers)
    return b"\r\n".join([*lines, *more, b"", b"".join(sent.pieces)])


async def ask_raw(raw_lane: RawHttpLane | RawGetLane, data: bytes) -> Received | None:
    """Return the raw lane's answer to these bytes, or None if the server has to parse them."""
    said: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
    if not raw_lane.take(data, lambda head, body: said.set_result((head, body))):
        assert not said.done()
        return None
    head, body = await said
    first, *lines = head.split(b"\r\n")
    assert lines.pop() == b""
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    return Received(int(first.split()[1]), headers, body, complete=True)


class TwoWays:
    """The application of config.asgi with the current settings, with and without the ASGI lane.

    Requests that the raw HTTP lane accepts are compared with its answer too.
    """

    def __init__(self) -> None:
        self.passed_on: list[str] = []
        self.behind = RequestId(BodyLimit(OneHopHandler(), settings.DATA_UPLOAD_MAX_MEMORY_SIZE))
        self.lane = AsgiLane(self._noted)
        self.raw_lane = RawHttpLane(self.lane)
        self.taken = 0

    async def _noted(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed_on.append(scope["path"])
        await self.behind(scope, receive, send)

    async def compare(self, sent: Sent, *, lane_first: bool) -> Received:
        """Check that all ways answer the same, and return the answer."""
        ways: list[App] = [self.lane, self.behind] if lane_first else [self.behind, self.lane]
        one, other = [await ask(way, sent) for way in ways]
        await self._compare_raw(sent, one)
        assert one.comparable() == other.comparable(), f"{one}\n{other}"
        assert one.complete and other.complete
        wanted = given_id(sent.headers)
        for answer in (one, other):
            (request_id,) = answer.header(b"x-request-id")
            assert request_id == wanted if wanted else re.fullmatch(rb"[0-9a-f]{16}", request_id)
        return one

    async def _compare_raw(self, sent: Sent, known: Received) -> None:
        # A server strips spaces around values, and passes on no bytes over TLS.
        if sent.scheme != "http" or any(value != value.strip(b" \t") for _, value in sent.headers):
            return
        answer = await ask_raw(self.raw_lane, in_bytes(sent))
        if answer is not None:
            self.taken += 1
            assert answer.comparable() == known.comparable(), f"{answer}\n{known}"
            wanted = given_id(sent.headers)
            (request_id,) = answer.header(b"x-request-id")
            assert request_id == wanted if wanted else re.fullmatch(rb"[0-9a-f]{16}", request_id)
