"""The ASGI lane: casts a voter's ballot ahead of Django, on the event loop.

Django's way to a view costs fifteen times as much CPU time as casting the ballot. The lane calls the same
functions as the REST view and answers with the same bytes (tests/polls/casting/test_lanes_agree.py). It
passes every other request to Django: an API key, another content type, a voter without a cookie, an unknown
poll.

A ballot needs no thread and no database. The rules are cached and refreshed in the background. The gate in
the log decides whether the poll is open (docs/decisions/fast-path.md).
"""

import asyncio
import logging
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from structlog.contextvars import bound_contextvars

from polls.casting import ballot_box, log_writer
from polls.casting.ballot_box import RulesMayBeStale
from polls.casting.cast_queue import CastQueue
from polls.casting.request import ACCEPTED_HEADERS, CastRequest, CastResponse, check_envelope
from polls.db_connections import closing_connections
from polls.errors import InternalError, LandslideError, OutcomeUnknown, Overloaded, PollNotFound, VoterUnknown
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
    request_id_of,
    send_response,
)
from polls.models import canonical_code
from polls.text.integers import whole_number
from polls.votelog import STORE_ERRORS
from polls.votelog.admission import NewBallot
from polls.voters import poll_rules
from polls.voters.poll_rules import PollRules

logger = logging.getLogger(__name__)

PREFIX, SUFFIX = "/api/v1/polls/", "/ballots/"
#: Rules older than FRESH_SECONDS are refreshed. Ballots still use them in the meantime. If they are older
#: than STALE_SECONDS, the ballot waits for the refresh.
FRESH_SECONDS, STALE_SECONDS = 1.0, 3.0
#: A ballot waits for the database for at most this many seconds. After a timeout, ballots use stale rules for
#: as long, without waiting.
DATABASE_TIMEOUT = 1.0
#: Limits for work that needs the database, so that a flood of unusual requests can't overload it.
DATABASE_THREADS, MAX_STALE_CHECKS, MAX_RULE_LOADS = 2, 200, 100
_VOTER = re.compile(rb"(?:^|;)\s*voter=([A-Za-z0-9_-]{43})\s*(?:;|$)")
_PASS = re.compile(rb"(?:^|;)\s*pass=([A-Za-z0-9_-]{54})\s*(?:;|$)")
_DJANGO_HEADERS = (b"authorization", b"transfer-encoding", b"content-encoding", b"expect")
_PLAIN_HEADERS = (b"content-type", b"host", b"cookie", b"origin", b"content-length", b"x-request-id")
_FORWARDED = FORWARDED_FOR.lower().encode()
_RELEVANT_HEADERS = frozenset((*_PLAIN_HEADERS, *_DJANGO_HEADERS))

Peer = tuple[str, int] | None
#: The fields of CastRequest after code and body.
Parts = tuple[str, str, str | None, bool, str, None, str | None, str]


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
        self._cast_queue: CastQueue | None = None
        # Prepared responses, each with its own random Retry-After.
        self._overloaded = [
            ballot_box.error_response(Overloaded(), CastRequest("", b"", "", "")) for _ in range(32)
        ]
        self._threads = ThreadPoolExecutor(DATABASE_THREADS, "asgi-lane")
        self._loading: dict[str, asyncio.Future[PollRules]] = {}
        self._refresh_failed_at = -DATABASE_TIMEOUT
        self._stale_checks = 0
        self._constant: dict[bool, Headers] = {}
        self._accepted: dict[bool, Headers] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if not (path.endswith(SUFFIX) and path.startswith(PREFIX) and scope["method"] == "POST"):
            await self.app(scope, receive, send)
            return
        code = path[len(PREFIX) : -len(SUFFIX)]
        if self._cast_queue is not None and self._cast_queue.full:
            await self._refuse_early(scope, send)
            return
        try:
            if scope.get("root_path"):
                raise PassToDjango
            request_id, length, parts = self.read_headers(
                scope["headers"], scope.get("client"), secure=is_secure(scope)
            )
            rules, age = poll_rules.cached_rules(code) or (await self.load_new_poll(code), 0.0)
        except PassToDjango:
            await self.app(scope, receive, send)
            return

        body = await _read(receive)
        if body is None:
            return  # the client has hung up
        if len(body) != length:  # our servers refuse such a request before it gets here
            await self.app(scope, replay_body(body, receive), send)
            return
        request = CastRequest(code, body, *parts)
        try:
            answer = await self._cast(request, rules, age)
        except VoterUnknown:
            # The cookie isn't one of ours. Django sets a new one.
            await self.app(scope, replay_body(body, receive), send)
            return
        except Exception as error:
            with bound_contextvars(request_id=request_id.decode()):
                answer = unexpected_error_response(error, request)
        await self._answer(scope, send, answer, request_id)

    async def _refuse_early(self, scope: Scope, send: Any) -> None:
        """Refuse a cast with as little work as possible."""
        given_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        await self._answer(scope, send, self.overloaded_response(), request_id_of(given_id))

    def overloaded_response(self) -> CastResponse:
        return random.choice(self._overloaded)

    async def _answer(self, scope: Scope, send: Any, answer: CastResponse, request_id: bytes) -> None:
        headers = self.headers(answer, secure=self.headers_depend_on_https and is_secure(scope))
        await send_response(Response(answer.status, headers, answer.body), request_id, send)

    def read_headers(self, headers: Headers, peer: Peer, *, secure: bool) -> tuple[bytes, int, Parts]:
        """Return the request's id, its Content-Length and its parts; raise PassToDjango if it is unusual."""
        kind = host = cookie = origin = given_id = length = forwarded = None
        for name, value in headers:
            if name not in self.relevant_headers:
                continue
            # A duplicate header becomes empty, so that Django handles it. A duplicate Origin becomes foreign.
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
        # Count "voter", not "voter=": a second cookie may be written "voter =…", and Django would take its
        # value.
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
        )
        return request_id_of(given_id), size, parts

    async def load_new_poll(self, code: str) -> PollRules:
        """Load the rules of a poll that isn't cached. If the poll doesn't exist, Django answers 404."""
        if not 3 <= len(code) <= 16 or code != canonical_code(code) or len(self._loading) >= MAX_RULE_LOADS:
            raise PassToDjango
        try:
            return await asyncio.shield(self.load_rules(code))
        except Exception:
            raise PassToDjango from None

    def load_rules(self, code: str) -> asyncio.Future[PollRules]:
        """Load a poll's rules in a thread. All requests that wait for the same poll share one load."""
        loading = self._loading.get(code)
        loop = asyncio.get_running_loop()
        if loading is None or loading.get_loop() is not loop:
            loading = loop.run_in_executor(self._threads, closing_connections, poll_rules.get_rules, code)
            self._loading[code] = loading
            loading.add_done_callback(lambda done: self._rules_loaded(code, done))
        return loading

    def _rules_loaded(self, code: str, done: asyncio.Future[PollRules]) -> None:
        self._loading.pop(code, None)
        if not done.cancelled():
            done.exception()  # retrieve it, so that asyncio logs no warning if no request waited for it

    def cast_queue(self) -> CastQueue:
        """Return the cast queue of the running event loop."""
        cast_queue = self._cast_queue
        if cast_queue is None or cast_queue.loop is not asyncio.get_running_loop():
            cast_queue = self._cast_queue = CastQueue(log_writer.submit)
        return cast_queue

    async def _cast(self, request: CastRequest, rules: PollRules, age: float) -> CastResponse:
        try:
            check_envelope(request, self._max_bytes)
            if age > FRESH_SECONDS:
                rules = await self._refreshed_rules(request.code, rules, age)
            try:
                ballot = ballot_box.prepare(request, rules)
            except RulesMayBeStale:
                ballot = await self._prepare_with_fresh_rules(request, rules)
            return ballot_box.accepted_response(ballot, await self.cast_queue().cast(ballot))
        except VoterUnknown:
            raise
        except LandslideError as error:
            return ballot_box.error_response(error, request)

    async def _refreshed_rules(self, code: str, rules: PollRules, age: float) -> PollRules:
        """Return refreshed rules, or `rules` if they aren't stale yet or the database doesn't answer."""
        loading = self.load_rules(code)
        if age <= STALE_SECONDS or time.monotonic() - self._refresh_failed_at < DATABASE_TIMEOUT:
            return rules
        try:
            return await asyncio.wait_for(asyncio.shield(loading), DATABASE_TIMEOUT)
        except PollNotFound:
            raise
        except Exception:
            self._refresh_failed_at = time.monotonic()
            return rules

    async def _prepare_with_fresh_rules(self, request: CastRequest, rules: PollRules) -> NewBallot:
        if self._stale_checks >= MAX_STALE_CHECKS:
            raise Overloaded()
        self._stale_checks += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, closing_connections, ballot_box.prepare_with_fresh_rules, request, rules
            )
        finally:
            self._stale_checks -= 1

    def headers(self, answer: CastResponse, *, secure: bool) -> Headers:
        """Return the headers that Django would send, including those that middleware adds."""
        if secure not in self._constant:
            self._constant[secure] = middleware_headers("POST, OPTIONS", secure=secure)
            self._accepted[secure] = [*encode_headers(ACCEPTED_HEADERS), *self._constant[secure]]
        length = (b"content-length", b"%d" % len(answer.body))
        if answer.headers is ACCEPTED_HEADERS:
            return [*self._accepted[secure], length]
        return [*encode_headers(answer.headers), *self._constant[secure], length]


async def _read(receive: Any) -> bytes | None:
    """Return the request's body, or None if the client disconnected before its end."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return None if message["type"] == "http.disconnect" else body


def unexpected_error_response(error: Exception, request: CastRequest) -> CastResponse:
    if isinstance(error, STORE_ERRORS):
        logger.error("cast_failed", exc_info=error)
        return ballot_box.error_response(OutcomeUnknown(), request)
    logger.error("internal_error", exc_info=error)
    return ballot_box.error_response(InternalError(), request)
