"""What nginx caches, with the configuration of deploy/nginx.conf."""

import contextlib
import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests import fetch
from tests.deploy.addresses import (
    BATCH,
    CAST,
    KEPT,
    PAGE,
    PUBLIC,
    STATIC,
    TALLY,
    VOTER,
    Before,
    Pair,
    fresh,
)
from tests.deploy.upstream import Exchange, Upstream
from tests.servers import PATIENCE, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_many_tally_requests_cost_one_upstream_request_a_second(
    upstream: Upstream, before: Before, crowd: ThreadPoolExecutor
) -> None:
    upstream.answer = tally_of(upstream)
    front = before(upstream.port)
    fetch.get(front.url + TALLY)
    began = time.monotonic()

    def ask(_: int) -> int:
        with fetch.Client(base_url=front.url) as viewer:
            asked = 0
            while len(upstream.seen) < 4:
                assert viewer.get(TALLY).status_code == 200
                asked += 1
            return asked

    asked = sum(crowd.map(ask, range(16)))
    assert asked > 10 * len(upstream.seen)
    assert len(upstream.seen) <= time.monotonic() - began + 2


def tally_of(upstream: Upstream, **headers: str) -> Callable[[Exchange], None]:
    """Return a handler whose responses are numbered and public."""

    def answer(exchange: Exchange) -> None:
        number = len(upstream.seen)
        fields = {"Cache-Control": PUBLIC, "ETag": f'"{number}"', "Content-Type": "application/json"}
        exchange.reply(200, json.dumps(number).encode(), **(fields | headers))

    return answer


def test_stale_tally_is_served_during_a_refresh(upstream: Upstream, before: Before) -> None:
    upstream.answer = tally_of(upstream)
    front = before(upstream.port)
    assert fetch.get(front.url + TALLY).json() == 1
    renewing = Event()

    def slowly(exchange: Exchange) -> None:
        renewing.wait(60)
        tally_of(upstream)(exchange)

    upstream.answer = slowly
    wait_for(lambda: fetch.get(front.url + TALLY) and len(upstream.seen) == 2, what="the renewal")
    assert {fetch.get(front.url + TALLY).json() for _ in range(20)} == {1}
    renewing.set()
    wait_for(lambda: fetch.get(front.url + TALLY).json() == 2, what="the new tally")


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, True),
        ({"Vary": "Accept-Language"}, True),
        ({"Vary": "Accept-Language, Accept-Encoding"}, True),
        ({"Vary": "Cookie"}, False),
        ({"Vary": "Accept-Language, Cookie"}, False),
        ({"Vary": "Authorization"}, False),
        ({"Vary": "*"}, False),
        ({"Set-Cookie": "voter=x"}, False),
        ({"Cache-Control": "private, no-store"}, False),
        ({"Cache-Control": "no-store"}, False),
        ({"Cache-Control": "no-cache"}, False),
    ],
)
@pytest.mark.parametrize("address", [TALLY, PAGE, STATIC])
def test_responses_that_depend_on_the_visitor_are_not_cached(
    pair: Pair, address: str, headers: dict[str, str], kept: bool
) -> None:
    upstream, front = pair
    upstream.answer = tally_of(upstream, **({"Cache-Control": KEPT} | headers))
    address = front.url + fresh(address)
    seen = [fetch.get(address, headers={"Cookie": f"voter={n}"}).json() for n in range(3)]
    assert seen == ([1, 1, 1] if kept else [1, 2, 3])


@pytest.mark.parametrize("address", [CAST, BATCH, VOTER, "/", "/admin/", "/api/v1/polls/"])
def test_other_addresses_are_never_cached(pair: Pair, address: str) -> None:
    upstream, front = pair
    upstream.answer = tally_of(upstream, **{"Cache-Control": KEPT})
    assert [fetch.get(front.url + address).json() for _ in range(3)] == [1, 2, 3]


def test_cache_is_separate_per_host(pair: Pair) -> None:
    upstream, front = pair
    upstream.answer = tally_of(upstream)
    address = front.url + fresh(PAGE)
    answers = [fetch.get(address, headers={"Host": host}).json() for host in ("a.test", "b.test")]
    assert answers == [1, 2]


def status_and_cache(port: int, target: str, host: str, cookie: str = "") -> tuple[int, str]:
    """Send a request target unchanged, which HTTP clients would normalize. Return status and X-Cache."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as asked:
        asked.putrequest("GET", target, skip_host=True)
        asked.putheader("Host", host)
        if cookie:
            asked.putheader("Cookie", cookie)
        asked.endheaders()
        answer = asked.getresponse()
        answer.read()
        return answer.status, answer.headers["X-Cache"]


@pytest.mark.parametrize("address", [PAGE, f"{PAGE}present/", TALLY, STATIC])
def test_other_spellings_of_an_address_share_the_cache_entry(pair: Pair, address: str) -> None:
    upstream, front = pair
    upstream.answer = tally_of(upstream, **{"Cache-Control": KEPT})
    address, host = fresh(address), f"localhost:{front.port}"
    spelled = address.replace("p", "%70").replace("s", "%73")
    assert spelled != address
    assert status_and_cache(front.port, address, host) == (200, "MISS")
    for target in (
        *(f"{address}#x", f"{address}?x", f"{address}?x#y", f"/{address}", f"/.{address}"),
        *(spelled, f"{spelled}#y", address.replace("/", "/x/../", 1), f"http://{host}{address}"),
    ):
        assert status_and_cache(front.port, target, host) == (200, "HIT"), target
    for odd in (host.upper(), host.replace(":", ".:")):
        assert status_and_cache(front.port, address, odd) == (200, "HIT"), odd
    assert [request.path for request in upstream.seen] == [address]
    # Another port is another origin, and pages contain their origin.
    assert status_and_cache(front.port, address, "localhost:1") == (200, "MISS")


def test_upstream_gets_the_normalised_address(pair: Pair) -> None:
    """Otherwise a request could fill one page's cache entry with another page."""
    upstream, front = pair
    upstream.answer = tally_of(upstream, **{"Cache-Control": KEPT})
    address = fresh(PAGE)
    name = address.removeprefix("/p").removesuffix("/")
    status_and_cache(front.port, f"/p/OTHER/..{name}%23results/?a", "localhost")
    status_and_cache(front.port, f"/p/OTHER/..{name}%3fa%0d%0aX:%20y/", "localhost")
    status_and_cache(front.port, f"http://a.test{address}", "b.test")
    assert [(request.path, request.headers["Host"]) for request in upstream.seen] == [
        (f"/p{name}%23results/", "localhost"),
        (f"/p{name}%3Fa%0D%0AX:%20y/", "localhost"),
        (address, "a.test"),
    ]


def test_cached_pages_are_requested_without_cookies(pair: Pair) -> None:
    upstream, front = pair
    for address, passed in (
        *((PAGE, None), (f"{PAGE}results/", None), (f"{PAGE}present/", None), (STATIC, None)),
        *((TALLY, "a=b"), (VOTER, "a=b"), ("/", "a=b"), (f"{PAGE}receipt/", "a=b"), (CAST, "a=b")),
    ):
        fetch.get(front.url + fresh(address), headers={"Cookie": "a=b"})
        assert upstream.seen[-1].headers["Cookie"] == passed, address
