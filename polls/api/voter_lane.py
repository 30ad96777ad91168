"""The voter lane: answers the voter endpoint ahead of Django.

Every voter's page sends this request once, and Django's path to the view costs ten times as much as the
answer. A new visitor is answered on the event loop, from the cached rules. For visitors with a cookie or an
invite, a thread reads the vote log and the database, in batches. The lane answers byte for byte as the REST
view does (tests/polls/api/test_voter_lane.py), and passes every other request on.
"""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from django.conf import settings
from rest_framework.renderers import JSONRenderer

from polls.api.voter_answer import CACHE_CONTROL, is_ours, voter_answer
from polls.casting.asgi_lane import AsgiLane
from polls.db_connections import closing_connections
from polls.http.cookies import parse_cookies
from polls.http.lanes import (
    Headers,
    Response,
    Scope,
    host_allowed,
    is_secure,
    middleware_headers,
    request_id_in,
    send_response,
)
from polls.models import Identity
from polls.voters import identity, invites, poll_rules
from polls.voters.eligibility import Credentials
from polls.voters.poll_rules import PollRules
from polls.voters.rules_loader import FRESH_SECONDS
from polls.voters.session_users import users_of_sessions

PATH = re.compile(r"/api/v1/polls/([A-Z0-9]{3,16})/voter/")
MAX_BATCH = 100  # the maximum number of visitors answered with one database connection
MAX_COOKIE_BYTES = 8192
ACCEPTED = (b"*/*", b"application/json")
INVITE = invites.HEADER.lower().encode()
#: Headers that the answer depends on. A request with another header of `relevant_headers` goes to Django.
_KNOWN_HEADERS = frozenset((b"host", b"cookie", b"accept", b"sec-fetch-site", INVITE))
_DJANGO_HEADERS = frozenset((b"content-length", b"transfer-encoding"))
#: Values of the CSRF and session cookies that Django leaves unchanged.
_CSRF_TOKEN, _SESSION_KEY = re.compile(r"[A-Za-z0-9]{32}(?:[A-Za-z0-9]{32})?"), re.compile(r"[a-z0-9]{32}")
_renderer = JSONRenderer()


class Visitor(NamedTuple):
    code: str
    cookies: Mapping[str, str]
    invite: str | None
    ours: bool
    secure: bool

    @property
    def session_key(self) -> str | None:
        return self.cookies.get(settings.SESSION_COOKIE_NAME)

    @property
    def is_new(self) -> bool:
        """Whether the visitor can be identified without reading a store."""
        names = (identity.COOKIE, identity.PASS_COOKIE, settings.SESSION_COOKIE_NAME)
        return self.invite is None and not any(name in self.cookies for name in names)


class VoterLane:
    """An ASGI application in front of the ASGI lane for ballots, and a lane of RawGetLane."""

    def __init__(self, casts: AsgiLane) -> None:
        self.app, self._loader = casts, casts.loader
        self.relevant_headers = _KNOWN_HEADERS | _DJANGO_HEADERS
        if [code for code, _ in settings.LANGUAGES] != [settings.LANGUAGE_CODE]:
            self.relevant_headers |= {b"accept-language"}  # a header of the response names the language
        self._thread = ThreadPoolExecutor(1, "voter-lane")
        self._waiting: list[tuple[Visitor, PollRules, asyncio.Future[Response | None]]] = []
        self._batches: asyncio.Task[None] | None = None
        self._constant: dict[tuple[bool, bool], Headers] = {}

    def answer(self, path: str, headers: Headers, *, secure: bool) -> Response | None:
        """Return the response to a new visitor if the poll's rules are cached, otherwise None."""
        visitor = self._read(path, headers, secure)
        if visitor is None or not visitor.is_new:
            return None
        rules = _fresh_rules(visitor.code)
        return self._respond_to_new(visitor, rules) if rules else None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        visitor = response = None
        if scope["method"] == "GET" and not scope["query_string"] and not scope.get("root_path"):
            visitor = self._read(scope["path"], scope["headers"], is_secure(scope))
        if visitor is not None:
            response = await self._response(visitor)
        if response is None:
            await self.app(scope, receive, send)
            return
        await send_response(response, request_id_in(scope["headers"]), send)

    def _read(self, path: str, headers: Headers, secure: bool) -> Visitor | None:
        """Return the parts of a GET request that matter; None for another path or an unusual request."""
        match = PATH.fullmatch(path)
        if match is None:
            return None
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in self.relevant_headers:
                if name in found or name not in _KNOWN_HEADERS:
                    return None
                found[name] = value
        cookie = found.get(b"cookie", b"")
        if len(cookie) > MAX_COOKIE_BYTES:
            return None
        cookies = parse_cookies(cookie.decode("latin-1"))
        if found.get(b"accept", b"*/*") not in ACCEPTED or not _are_kept(cookies):
            return None
        if not (found.get(b"host") and host_allowed(found[b"host"])):
            return None
        site, invite = found.get(b"sec-fetch-site"), found.get(INVITE)
        return Visitor(
            match[1],
            cookies,
            None if invite is None else invite.decode("latin-1"),
            is_ours(None if site is None else site.decode("latin-1")),
            secure,
        )

    async def _response(self, visitor: Visitor) -> Response | None:
        """Return the response; None if Django has to answer, perhaps with an error."""
        try:
            rules = _fresh_rules(visitor.code) or await self._loader.load(visitor.code)
        except Exception:
            return None
        if visitor.is_new:
            return self._respond_to_new(visitor, rules)
        loop = asyncio.get_running_loop()
        if self._batches is None or self._batches.done() or self._batches.get_loop() is not loop:
            self._waiting, self._batches = [], loop.create_task(self._answer_waiting(loop))
        future: asyncio.Future[Response | None] = loop.create_future()
        self._waiting.append((visitor, rules, future))
        return await future

    def _respond_to_new(self, visitor: Visitor, rules: PollRules) -> Response | None:
        try:
            return self._respond(visitor, rules, {})
        except Exception:
            return None  # Django logs and answers such an error

    async def _answer_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer the waiting visitors in batches; visitors who arrive meanwhile are the next batch."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            visitors = [(visitor, rules) for visitor, rules, _ in batch]
            responses: list[Response | None] = [None] * len(batch)
            with suppress(RuntimeError):  # no thread can be started; Django answers
                responses = await loop.run_in_executor(self._thread, self._respond_to_all, visitors)
            for (_, _, future), response in zip(batch, responses, strict=True):
                if not future.done():
                    future.set_result(response)

    def _respond_to_all(self, batch: list[tuple[Visitor, PollRules]]) -> list[Response | None]:
        """Read the stores and build the responses. If a store fails, Django answers the whole batch."""
        try:
            return closing_connections(self._read_and_respond, batch)
        except Exception:
            return [None] * len(batch)

    def _read_and_respond(self, batch: list[tuple[Visitor, PollRules]]) -> list[Response | None]:
        members = [visitor for visitor, rules in batch if rules.identity == Identity.LOGIN]
        users = users_of_sessions({visitor.session_key for visitor in members if visitor.session_key})
        responses: list[Response | None] = []
        for visitor, rules in batch:
            try:
                responses.append(self._respond(visitor, rules, users))
            except KeyError:
                responses.append(None)
        return responses

    def _respond(self, visitor: Visitor, rules: PollRules, users: Mapping[str, Any]) -> Response:
        """Build the response; raise KeyError if the visitor's session isn't one of these users'."""
        key = visitor.session_key if rules.identity == Identity.LOGIN else None
        user = None if key is None else users[key]
        credentials = Credentials(visitor.cookies, visitor.invite, lambda: user)
        answer = voter_answer(rules, credentials, ours=visitor.ours, secure=visitor.secure)
        body = _renderer.render(answer.document)
        headers = [*self._constant_headers(visitor.secure, key is not None)]
        headers.append((b"content-length", b"%d" % len(body)))
        cookies = [answer.voter_cookie] if answer.voter_cookie else []
        headers += [(b"set-cookie", cookie.encode()) for cookie in (*cookies, *answer.passes)]
        return Response(200, headers, body)

    def _constant_headers(self, secure: bool, session_read: bool) -> Headers:
        kind = secure, session_read
        if kind not in self._constant:
            added = middleware_headers("GET, HEAD, OPTIONS", secure=secure)
            if session_read:  # Django's session middleware adds Cookie to Vary
                added = [(n, b"%b, Cookie" % value if n == b"vary" else value) for n, value in added]
            own = [(b"content-type", b"application/json"), (b"cache-control", CACHE_CONTROL.encode())]
            self._constant[kind] = own + added
        return self._constant[kind]


def _fresh_rules(code: str) -> PollRules | None:
    """Return the cached rules of a poll if the REST view would use them too."""
    cached = poll_rules.cached_rules(code)
    return cached[0] if cached is not None and cached[1] <= FRESH_SECONDS else None


def _are_kept(cookies: Mapping[str, str]) -> bool:
    """Whether Django would leave all these cookies unchanged, and no cookie chooses a language."""
    token = cookies.get(settings.CSRF_COOKIE_NAME)
    session_key = cookies.get(settings.SESSION_COOKIE_NAME)
    return (
        settings.LANGUAGE_COOKIE_NAME not in cookies
        and (token is None or _CSRF_TOKEN.fullmatch(token) is not None)
        and (session_key is None or _SESSION_KEY.fullmatch(session_key) is not None)
    )
