"""The ASGI lane: casts a voter's ballot ahead of Django, on the event loop.

Django's way to a view costs fifteen times as much CPU time as casting the ballot. The lane turns a request
into a cast and the cast's response into ASGI messages. It answers with the same bytes as the REST view
(tests/polls/casting/test_lanes_agree.py), and passes every unusual request to Django: an API key, another
content type, a voter without a cookie.

A ballot needs no thread and no database. The rules are cached and refreshed in the background. The gate in
the log decides whether the poll is open (docs/decisions/fast-path.md).
"""

import asyncio
import random
import re
from functools import partial
from typing import Any

from django.conf import settings

from polls.casting.ballot_box import error_response
from polls.casting.cast import LoopCasts
from polls.casting.request import ACCEPTED_HEADERS, CastRequest, CastResponse
from polls.errors import Overloaded
from polls.http.client_address import FORWARDED_FOR, client_address
from polls.http.lanes import (
    Headers,
    Response,
    Scope,
    encode_headers,
    host_allowed,
    is_secure,
    middleware_headers,
    replay_body,
    request_id_in,
    request_id_of,
    send_response,
)
from polls.text.integers import whole_number
from polls.voters.rules_loader import RulesLoader

#: The path of a ballot. Django also accepts other spellings of a poll's code.
PATH = r"/api/v1/polls/([A-Z0-9]{3,16})/ballots/"
_path = re.compile(PATH).fullmatch
_VOTER = re.compile(rb"(?:^|;)\s*voter=([A-Za-z0-9_-]{43})\s*(?:;|$)")
_PASS = re.compile(rb"(?:^|;)\s*pass=([A-Za-z0-9_-]{54})\s*(?:;|$)")
_DJANGO_HEADERS = (b"authorization", b"transfer-encoding", b"content-encoding", b"expect")
_PLAIN_HEADERS = (b"content-type", b"host", b"cookie", b"origin", b"content-length", b"x-request-id")
_FORWARDED = FORWARDED_FOR.lower().encode()
_RELEVANT_HEADERS = frozenset((*_PLAIN_HEADERS, *_DJANGO_HEADERS))

Peer = tuple[str, int] | None
#: The fields of CastRequest after code and body.
Parts = tuple[str, str, str | None, bool, str, None, str | None, str, bytes]


class PassToDjango(Exception):
    """The lane doesn't handle this request."""


class AsgiLane:
    """An ASGI application: casts ballots of known voters, and passes every other request to `app`."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._max_bytes = settings.CAST_MAX_BYTES  # read once: reading a lazy setting costs as much as a hash
        self.headers_depend_on_https = settings.SECURE_HSTS_SECONDS > 0
        self.relevant_headers = _RELEVANT_HEADERS
        if [code for code, _ in settings.LANGUAGES] != [settings.LANGUAGE_CODE]:
            self.relevant_headers |= {b"accept-language"}  # Django chooses the language of error texts
        if settings.TRUSTED_PROXIES:
            self.relevant_headers |= {_FORWARDED}
        self.loader = RulesLoader()
        self._casts: LoopCasts | None = None
        # Prepared responses, each with its own random Retry-After.
        self._overloaded = [error_response(Overloaded(), CastRequest("", b"", "", "")) for _ in range(32)]
        self._constant: dict[bool, Headers] = {}
        self._accepted: dict[bool, Headers] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        path = _path(scope["path"]) if scope["method"] == "POST" else None
        if path is None:
            await self.app(scope, receive, send)
            return
        casts = self.casts()
        if casts.backpressure.full:
            await self._refuse_early(scope, send)
            return
        try:
            if scope.get("root_path"):
                raise PassToDjango
            length, parts = self.read_headers(scope["headers"], scope.get("client"), secure=is_secure(scope))
        except PassToDjango:
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the client has hung up
        if len(body) != length:  # our servers refuse such a request before it gets here
            await self.app(scope, replay_body(body, receive), send)
            return
        request = CastRequest(path[1], body, *parts)
        answered: asyncio.Future[CastResponse] = casts.loop.create_future()
        casts.cast(request, partial(_answer_unless_cancelled, answered))
        await self._answer(scope, send, await answered, request.request_id)

    async def _refuse_early(self, scope: Scope, send: Any) -> None:
        """Refuse a cast with as little work as possible."""
        await self._answer(scope, send, self.overloaded_response(), request_id_in(scope["headers"]))

    def overloaded_response(self) -> CastResponse:
        return random.choice(self._overloaded)

    async def _answer(self, scope: Scope, send: Any, answer: CastResponse, request_id: bytes) -> None:
        headers = self.headers(answer, secure=self.headers_depend_on_https and is_secure(scope))
        await send_response(Response(answer.status, headers, answer.body), request_id, send)

    def read_headers(self, headers: Headers, peer: Peer, *, secure: bool) -> tuple[int, Parts]:
        """Return the request's Content-Length and its parts; raise PassToDjango if it is unusual."""
        kind = host = cookie = origin = given_id = length = forwarded = None
        for name, value in headers:
            if name not in self.relevant_headers:
                continue
            # A duplicate header becomes empty, so that Django handles the request. A duplicate Origin becomes
            # "null", which is foreign.
            if name == b"content-type":
                kind = value if kind is None else b""
            elif name == b"host":
                host = value if host is None else b""
            elif name == b"cookie":
                cookie = value if cookie is None else b""
            elif name == b"origin":
                origin = value if origin is None else b"null"
            elif name == b"content-length":
                length = value if length is None else b""
            elif name == b"x-request-id" and given_id is None:
                given_id = value
            elif name == _FORWARDED:
                forwarded = value if forwarded is None else b"%b,%b" % (forwarded, value)
            else:
                raise PassToDjango
        if kind != b"application/json" or not (cookie and host and length):
            raise PassToDjango
        # Count "voter" without the equals sign. Django would also accept a second cookie that is written
        # "voter =…", and would take the value of this second cookie.
        voter, size, passes = _VOTER.search(cookie), whole_number(length), cookie.count(b"pass")
        if voter is None or cookie.count(b"voter") != 1 or size is None or size > self._max_bytes:
            raise PassToDjango
        pass_ = _PASS.search(cookie) if passes else None
        if passes != (pass_ is not None) or not host_allowed(host):
            raise PassToDjango
        parts = (
            "application/json",
            host.decode("latin-1"),
            None if origin is None else origin.decode("latin-1"),
            secure,
            voter[1].decode(),
            None,
            None if pass_ is None else pass_[1].decode(),
            client_address(peer and peer[0], forwarded.decode("latin-1") if forwarded else None),
            request_id_of(given_id),
        )
        return size, parts

    def casts(self) -> LoopCasts:
        """Return the LoopCasts object of the running event loop."""
        casts = self._casts
        if casts is None or casts.loop is not asyncio.get_running_loop():
            casts = self._casts = LoopCasts(self.loader)
        return casts

    def headers(self, answer: CastResponse, *, secure: bool) -> Headers:
        """Return the headers that Django would send, including those that middleware adds."""
        if secure not in self._constant:
            self._constant[secure] = middleware_headers("POST, OPTIONS", secure=secure)
            self._accepted[secure] = [*encode_headers(ACCEPTED_HEADERS), *self._constant[secure]]
        length = (b"content-length", b"%d" % len(answer.body))
        if answer.headers is ACCEPTED_HEADERS:
            return [*self._accepted[secure], length]
        return [*encode_headers(answer.headers), *self._constant[secure], length]


def _answer_unless_cancelled(answered: asyncio.Future[CastResponse], answer: CastResponse) -> None:
    if not answered.done():
        answered.set_result(answer)


async def _read(receive: Any) -> bytes | None:
    """Return the request's body, or None if the client disconnected before its end."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return None if message["type"] == "http.disconnect" else body
