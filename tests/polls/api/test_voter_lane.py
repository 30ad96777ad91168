"""Differential test: the voter lane answers byte for byte as the REST view does."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client

from config.operations.request_id import RequestId, given_id
from config.security.body_limit import BodyLimit
from config.serving.django_handler import OneHopHandler
from polls import clock, lifecycle
from polls.api import voter_lane
from polls.api.voter_lane import VoterLane
from polls.casting import ballot_box
from polls.casting.asgi_lane import AsgiLane
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.http.raw_get_lane import RawGetLane
from polls.models import Identity, Poll, Visibility
from polls.voters import identity, invites, poll_rules, proof_of_work
from polls.voters.session_users import users_of_sessions
from tests.polls.api_client import POLLS, make_poll
from tests.polls.differential import Headers, Received, Sent, ask, ask_raw, in_bytes
from tests.polls.poll_states import STATES, make_poll_in
from tests.polls.voters.browsing import token

pytestmark = [pytest.mark.django_db(transaction=True)]

HOST = (b"host", b"vote.example")


class Ways:
    """The application with and without the lane, and the raw lane over it."""

    def __init__(self) -> None:
        django = BodyLimit(OneHopHandler(), django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        self.behind = RequestId(django)
        self.passed_on = 0
        self.lane = VoterLane(AsgiLane(self._noted))
        self.raw = RawGetLane([self.lane])
        self.runner = asyncio.Runner()
        self.seen: Counter[str] = Counter()

    async def _noted(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed_on += 1
        await self.behind(scope, receive, send)

    def compare(self, code: str, headers: Headers = (HOST,), **sent: Any) -> Received:
        """Check that all ways answer the same; return the answer."""
        path = sent.pop("path", f"{POLLS}{code}/voter/")
        return self.runner.run(self._compare(Sent(path, list(headers), **{"method": "GET"} | sent)))

    async def _compare(self, sent: Sent) -> Received:
        before = self.passed_on
        found = await ask(self.lane, sent)
        self.seen["lane" if self.passed_on == before else "passed on"] += 1
        wanted = await ask(self.behind, sent)
        assert found.comparable() == wanted.comparable(), sent
        self._check_id(found, sent)
        if sent.scheme == "http" and not any(value != value.strip(b" \t") for _, value in sent.headers):
            raw = await ask_raw(self.raw, in_bytes(sent))
            if raw is not None:
                self.seen["raw"] += 1
                assert raw.comparable() == wanted.comparable(), sent
                self._check_id(raw, sent)
        return found

    @staticmethod
    def _check_id(answer: Received, sent: Sent) -> None:
        (request_id,) = answer.header(b"x-request-id")
        assert request_id == (given_id(sent.headers) or request_id)


@pytest.fixture
def ways(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ways]:
    settings.ALLOWED_HOSTS = ["vote.example", ".halls.example"]
    # Nothing random, so that whole answers can be compared: new cookies, passes, challenges.
    monkeypatch.setattr(identity, "secrets", SimpleNamespace(token_bytes=lambda size: b"x" * size))
    chosen = SimpleNamespace(token_hex=lambda size: "ab" * size, randbelow=lambda most: 7)
    monkeypatch.setattr(proof_of_work, "secrets", chosen)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)  # passes and challenges contain it
    monkeypatch.setattr(voter_lane, "FRESH_SECONDS", 3600.0)  # also on a slow machine
    poll_rules.clear_cache()
    ways = Ways()
    yield ways
    ways.runner.close()


def cast(poll: Poll, cookie: str | None, pass_: str | None = None) -> None:
    body = b'{"selections": [1, 2]}' if poll.min_selections == 2 else b'{"selections": [1]}'
    request = CastRequest(poll.code, body, "application/json", "vote.example", cookie=cookie, pass_=pass_)
    cast_and_wait(request)


class Visitors:
    """Cookies and invites of all kinds of visitors, for one poll."""

    def __init__(self, poll: Poll) -> None:
        real = identity.secrets
        identity.secrets = __import__("secrets")  # real random cookies, so that visitors differ
        self.cookies = [identity.new_cookie() for _ in range(3)]
        identity.secrets = real
        self.session = signed_in(User.objects.get_or_create(username="anna")[0])
        key = identity.invite_key(poll.voter_secret(), 1, 1)
        self.passes = [
            identity.make_pass(str(each), poll.pk, poll.voter_secret(), key)
            if each in identity.WITH_PASS
            else ""
            for each in Identity
        ]
        self.voted = self.cookies[0]
        cast(poll, self.voted, self.passes[1])

    def cookie_headers(self) -> Iterator[str | None]:
        voted, other, third = self.cookies
        forged = other[:-1] + ("A" if other[-1] != "A" else "Q")
        yield from (None, "", f"voter={voted}", f"voter={other}", f"voter={forged}", "voter=", "a=1; b=2")
        for pass_ in self.passes:
            yield f"voter={third}; pass={pass_}"
        yield f"pass={self.passes[1]}x"
        for session in (self.session, self.session[:-1] + "0", "short", "x" * 32, "Ä" * 32):
            yield f"voter={other}; sessionid={session}"
        yield f"sessionid={self.session}"
        yield f"sessionid={self.session}; csrftoken={'c' * 32}"
        yield f"sessionid={self.session}; csrftoken=old"
        yield f"csrftoken={'c' * 64}; messages=x"
        yield f"csrftoken={'c' * 33}"
        yield "django_language=de"
        yield f'voter="{other}"; x="; voter={third}"'
        yield f"voter={other}; voter={third}"
        yield f"xvoter={other}; Voter={third}; voter ={other}"


def signed_in(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


@pytest.mark.slow
@pytest.mark.parametrize("policy", Identity.values)
def test_every_visitor_of_polls_in_every_state(policy: str, ways: Ways) -> None:
    for state in STATES:
        poll = make_poll_in(state, identity=policy, results_visible="staff")
        poll.refresh_from_db()
        for header in Visitors(poll).cookie_headers():
            headers = [HOST] if header is None else [HOST, (b"cookie", header.encode("latin-1"))]
            assert ways.compare(poll.code, headers).status == 200
    assert ways.seen["lane"] > 2 * ways.seen["passed on"] > 0
    assert ways.seen["raw"] > 10


def test_those_who_have_voted_are_told(ways: Ways) -> None:
    for visible in Visibility.values:
        poll = make_poll(open=True, revote=True, results_visible=visible, proof_of_work="on")
        visitors = Visitors(poll)
        lifecycle.bump_revision(poll.pk)
        for cookie in visitors.cookies:
            ways.compare(poll.code, [HOST, (b"cookie", f"voter={cookie}".encode())])
        answer = ways.compare(poll.code)
        assert b'"challenge"' in answer.body
        assert answer.header(b"set-cookie")
    assert ways.passed_on == 0


@pytest.mark.slow
def test_invites(ways: Ways) -> None:
    poll = make_poll(open=True, identity="invite")
    batch, ended = (invites.make_batch(poll.pk, 3, by="anna") for _ in range(2))
    invites.revoke_batch(ended.pk, by="anna")
    other = make_poll(open=True, identity="invite")
    passes = {
        each: identity.make_pass(
            "invite", poll.pk, poll.voter_secret(), identity.invite_key(poll.voter_secret(), each.pk, 1)
        )
        for each in (batch, ended)
    }
    cast(poll, None, passes[batch])
    tokens = [token(batch), token(batch, 2), token(batch, 4), token(ended), "", "x" * 32, "Ä" * 32]
    tokens.append(token(invites.make_batch(other.pk, 1, by="anna")))
    for given, pass_ in product(tokens, [None, *passes.values()]):
        headers = [HOST, (b"voter-invite", given.encode("latin-1"))]
        headers += [(b"cookie", f"pass={pass_}".encode())] if pass_ else []
        ways.compare(poll.code, headers)
    twice = [HOST, (b"voter-invite", token(batch).encode()), (b"voter-invite", b"x")]
    ways.compare(poll.code, twice)
    assert ways.passed_on == 1


def test_sessions_that_django_would_change(ways: Ways) -> None:
    poll = make_poll(open=True, identity="login")
    anna, bert, cleo = (User.objects.create_user(name) for name in ("anna", "bert", "cleo"))
    keys = [signed_in(user) for user in (anna, bert, cleo)]
    User.objects.filter(pk=bert.pk).update(is_active=False)
    cleo.set_password("another")
    cleo.save()
    empty = SessionStore()
    empty["shopping"] = "cart"
    empty.save()
    gone = signed_in(anna)
    SessionStore(gone).delete()
    found = [
        ways.compare(poll.code, [HOST, (b"cookie", f"sessionid={key}".encode())]).body
        for key in [*keys, str(empty.session_key), gone]
    ]
    assert [b'"account":"anna"' in body for body in found] == [True, False, False, False, False]
    assert (ways.seen["lane"], ways.passed_on) == (1, 4)
    # The lane passed this visitor on, and Django ended the session, since the password has changed.
    assert not SessionStore(keys[2]).exists(keys[2])


def test_a_session_of_an_older_secret_is_renewed_once(ways: Ways, settings: Any) -> None:
    poll = make_poll(open=True, identity="login")
    key = signed_in(User.objects.create_user("anna"))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "n" * 50
    sent = Sent(f"{POLLS}{poll.code}/voter/", [HOST, (b"cookie", f"sessionid={key}".encode())], method="GET")
    answer = ways.runner.run(ask(ways.lane, sent))
    assert b'"account":"anna"' in answer.body
    (renewed,) = [each for each in answer.header(b"set-cookie") if each.startswith(b"sessionid=")]
    assert key.encode() not in renewed


ODD: list[Headers] = [
    [],
    [HOST, HOST],
    [(b"host", b"evil.example")],
    [(b"host", b"")],
    [(b"host", b"north.halls.example:8443")],
    *[[HOST, (b"accept", value)] for value in (b"*/*", b"application/json", b"text/html", b"*/*;q=0.1", b"")],
    *[
        [HOST, (b"sec-fetch-site", value)]
        for value in (b"none", b"same-origin", b"same-site", b"cross-site", b"", b"\xe4")
    ],
    [HOST, (b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")],
    [HOST, (b"accept-language", b"de-DE,de;q=0.9")],
    [HOST, (b"accept-encoding", b"gzip")],
    [HOST, (b"authorization", b"Api-Key x")],
    [HOST, (b"content-length", b"0")],
    [HOST, (b"content-type", b"text/plain")],
    [HOST, (b"x-request-id", b"proxy-1.2:3")],
    [HOST, (b"x-request-id", b"short")],
    [HOST, (b"x-forwarded-proto", b"https")],
    [HOST, (b"x-forwarded-proto", b"https, http")],
    [HOST, (b"x-forwarded-for", b"198.51.100.1")],
    [HOST, (b"x-http-method-override", b"POST")],
    [HOST, (b"if-none-match", b"*")],
    [HOST, (b"range", b"bytes=0-1")],
    [HOST, (b"origin", b"https://evil.example")],
    [HOST, (b"cookie", b"a=1"), (b"cookie", b"b=2")],
    [HOST, (b"cookie", rb'voter="\170"; pass=\; a=1')],
    [HOST, (b"connection", b"close")],
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"SECURE_HSTS_SECONDS": 600, "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
        {"LANGUAGES": [("en", "English"), ("de", "Deutsch")]},
        {"LANGUAGE_CODE": "de"},
    ],
    ids=str,
)
def test_odd_requests_and_settings(changed: dict[str, Any], settings: Any, request: Any) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    ways: Ways = request.getfixturevalue("ways")
    code = make_poll(open=True).code
    for headers, scheme in product(ODD, ("http", "https")):
        ways.compare(code, headers, scheme=scheme)
    for method in ("HEAD", "POST", "OPTIONS", "get", "PUT"):
        ways.compare(code, method=method)
    for path in (f"{POLLS}{code}/voter", f"{POLLS}{code.lower()}/voter/", f"{POLLS}{code}/x/voter/"):
        ways.compare(code, path=path)
    for unknown in ("NOPE42", "A" * 16, "A" * 17, "AB"):
        ways.compare(unknown)
    for query in (b"format=html", b"a=1&a=2"):
        ways.compare(code, query=query)


def test_a_change_of_the_poll_shows_at_once(ways: Ways) -> None:
    poll = make_poll()
    states = [ways.compare(poll.code).body]
    for step in ("open", "close"):
        lifecycle.STEPS[step](poll.pk, "anna")
        states.append(ways.compare(poll.code).body)
    assert len(set(states)) == 3
    assert ways.passed_on == 0


def test_django_answers_when_a_store_fails(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = make_poll(open=True)
    cookie = f"voter={Visitors(poll).voted}".encode()

    def fail(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(ballot_box, "current_ballot", fail)
    assert ways.compare(poll.code, [HOST, (b"cookie", cookie)]).status == 503
    assert ways.compare(poll.code).status == 200


def test_django_answers_after_an_unexpected_error(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = make_poll(open=True)
    ways.compare(poll.code)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(voter_lane, "voter_answer", fail)
    assert ways.compare(poll.code).status == 200
    assert ways.passed_on == 1


def test_long_cookies_are_not_parsed_on_the_event_loop(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = make_poll(open=True)
    monkeypatch.setattr(voter_lane, "parse_cookies", None)
    cookie = b"a=" + b"x" * voter_lane.MAX_COOKIE_BYTES
    assert ways.compare(poll.code, [HOST, (b"cookie", cookie)]).status == 200
    assert ways.passed_on == 1


def test_django_answers_if_no_thread_can_be_started(ways: Ways) -> None:
    poll = make_poll(open=True)
    ways.lane._thread.shutdown()  # from now on it raises RuntimeError, as without a thread
    assert ways.compare(poll.code, [HOST, (b"cookie", b"voter=x")]).status == 200
    assert ways.passed_on == 1


def test_visitors_who_wait_together_are_answered_together(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = make_poll(open=True, identity="login")
    ways.compare(poll.code)
    names = [f"member {number}" for number in range(6)]
    keys = [signed_in(User.objects.create_user(name)) for name in names]
    read: list[int] = []

    def users(keys: Any) -> Any:
        read.append(len(keys))
        return users_of_sessions(keys)

    async def all_of_them() -> list[Received]:
        path = f"{POLLS}{poll.code}/voter/"
        cookies = [(b"cookie", f"sessionid={key}".encode()) for key in keys]
        sent = [Sent(path, [HOST, cookie], method="GET") for cookie in cookies]
        return await asyncio.gather(*(ask(ways.lane, each) for each in sent))

    monkeypatch.setattr(voter_lane, "users_of_sessions", users)
    answers = ways.runner.run(all_of_them())
    assert [json.loads(answer.body)["account"] for answer in answers] == names
    assert read == [6]
