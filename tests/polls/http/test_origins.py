"""One rule for origins, on every lane and connection that a browser can use."""

import asyncio
from typing import Any

import pytest

from polls.http.lanes import is_secure
from polls.http.origins import origin_allowed, origin_of
from polls.voters import identity
from polls.voters.poll_rules import get_rules
from tests.polls.api_client import POLLS, Caller, make_poll
from tests.polls.differential import Sent, TwoWays, in_bytes
from tests.polls.origin_cases import ORIGIN_CASES, origin_headers

HOST = "vote.example:8443"


@pytest.mark.parametrize(
    ("origin", "secure", "allowed"),
    [
        (None, False, True),
        ("http://vote.example:8443", False, True),
        ("HTTP://Vote.Example:8443", False, True),
        ("https://vote.example:8443", True, True),
        ("https://trusted.example", False, True),
        # The same host with another scheme: another server may answer there.
        ("https://vote.example:8443", False, False),
        ("http://vote.example:8443", True, False),
        ("http://trusted.example", False, False),
        ("", False, False),
        ("null", False, False),
        ("http://vote.example", False, False),
        ("http://vote.example:8443/", False, False),
        ("http://vote.example:8443.evil.example", False, False),
        ("http://user@vote.example:8443", False, False),
        ("ws://vote.example:8443", False, False),
        ("vote.example:8443", False, False),
        ("http://", False, False),
    ],
)
def test_our_own_origin_has_the_scheme_of_the_request(
    settings: Any, origin: str | None, secure: bool, allowed: bool
) -> None:
    settings.TRUSTED_ORIGINS = ["https://trusted.example"]
    assert origin_allowed(origin, HOST, secure=secure) is allowed


def test_without_a_host_no_origin_is_allowed() -> None:
    assert not origin_allowed("http://", "", secure=False)


def test_several_origins_are_foreign() -> None:
    mine = (b"origin", b"http://vote.example")
    assert origin_of([]) is None
    assert origin_of([(b"origin", b"")]) == ""
    assert origin_of([mine]) == "http://vote.example"
    assert origin_of([mine, mine]) == "null"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("scheme", "told", "origin", "ours"), ORIGIN_CASES)
def test_casts_follow_the_origin_rule_on_every_lane(
    settings: Any, scheme: str, told: bytes | None, origin: bytes, ours: bool
) -> None:
    """`compare` sends the request to Django's view, to the ASGI lane and to the raw HTTP lane."""
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    poll = make_poll(open=True)
    body = b'{"selections": [1], "ballot_id": "00000000-0000-0000-0000-000000000001"}'
    headers = [
        (b"host", b"testserver"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cookie", b"voter=" + identity.new_cookie().encode()),
        *origin_headers(told, origin),
    ]
    sent = Sent(f"{POLLS}{poll.code}/ballots/", headers, (body,), scheme=scheme)
    with asyncio.Runner() as runner:
        answer = runner.run(TwoWays().compare(sent, lane_first=True))
    assert answer.status == (202 if ours else 403), answer.body


@pytest.mark.django_db(transaction=True)
def test_the_refusal_hints_at_a_proxy_that_does_not_tell_the_scheme() -> None:
    poll = make_poll(open=True)
    caller = Caller(None)
    answer = caller("POST", f"{POLLS}{poll.code}/ballots/", {"selections": [1]}, Origin="https://testserver")
    assert answer.status_code == 403
    assert "PROXY_SSL_HEADER" in answer.json()["detail"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("peer", "told", "origin", "ours"),
    [
        ("192.0.2.1", b"https", b"https://testserver", True),
        ("192.0.2.1", b"https", b"http://testserver", False),
        ("192.0.2.1", b"http", b"http://testserver", True),
        ("192.0.2.1", b"gopher", b"http://testserver", True),
        ("203.0.113.7", b"https", b"https://testserver", False),
        ("203.0.113.7", b"https", b"http://testserver", True),
    ],
)
def test_a_trusted_proxy_tells_the_scheme_by_x_forwarded_proto(
    settings: Any, peer: str, told: bytes, origin: bytes, ours: bool
) -> None:
    """The lanes treat the header like uvicorn, and like Daphne for everything but WebSockets."""
    settings.TRUSTED_PROXIES = ["192.0.2.1"]
    poll, body = make_poll(open=True), b'{"selections": [1]}'
    get_rules(poll.code)
    headers = [
        (b"host", b"testserver"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cookie", b"voter=" + identity.new_cookie().encode()),
        *origin_headers(told, origin),
    ]

    async def answer() -> bytes:
        said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        data = in_bytes(Sent(f"{POLLS}{poll.code}/ballots/", headers, (body,)))
        assert TwoWays().raw_lane.take(data, lambda head, _: said.set_result(head), (peer, 4711))
        return await said

    with asyncio.Runner() as runner:
        assert runner.run(answer()).startswith(b"HTTP/1.1 202" if ours else b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("scope", "secure"),
    [
        ({}, False),
        ({"scheme": "https"}, True),
        ({"scheme": "wss"}, True),
        # Daphne sets no scheme for WebSockets.
        ({"client": ("192.0.2.1", 1), "headers": [(b"x-forwarded-proto", b"https")]}, True),
        ({"client": ("203.0.113.7", 1), "headers": [(b"x-forwarded-proto", b"https")]}, False),
        ({"client": None, "headers": [(b"x-forwarded-proto", b"https")]}, False),
        ({"client": ("192.0.2.1", 1), "headers": [(b"x-forwarded-proto", b"wss")]}, False),
    ],
)
def test_only_trusted_proxies_can_make_a_connection_secure(
    settings: Any, scope: dict[str, Any], secure: bool
) -> None:
    settings.TRUSTED_PROXIES = ["192.0.2.1"]
    assert is_secure({"headers": [], **scope}) is secure
