"""Headers, ids, upgrades and logs of requests through deploy/nginx.conf."""

from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests import fetch
from tests.deploy.addresses import (
    CAST,
    EVERYWHERE,
    KEPT,
    PAGE,
    SOCKET,
    STATIC,
    STREAM,
    TALLY,
    UPGRADE,
    VOTER,
    Before,
    Pair,
    fresh,
)
from tests.deploy.upstream import Exchange, Upstream
from tests.servers import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize(
    ("what", "status"), [("no answer", 503), ("nobody", 503), ("too large", 413), ("no slash", 308)]
)
def test_no_ballot_is_logged_whether_nginx_or_landslide_answers(
    upstream: Upstream, before: Before, what: str, status: int
) -> None:
    with Upstream.serving() as gone:
        pass
    upstream.answer = Exchange.hang_up if what == "no answer" else lambda e: e.reply(status, b"")
    front = before(gone.port if what == "nobody" else upstream.port)
    content = b" " * 20_000 if what == "too large" else b"{}"
    address = CAST.rstrip("/") if what == "no slash" else CAST
    for spelled in (address, address.replace("polls", "poll%73")):
        assert fetch.post(front.url + spelled, content=content).status_code == status
    fetch.get(front.url + "/last/")
    wait_for(lambda: "/last/" in front.access_log.read_text(), what="the access log")
    assert "ballots" not in front.access_log.read_text()


@pytest.mark.parametrize("address", EVERYWHERE)
def test_forwarded_headers_of_clients_are_ignored(pair: Pair, address: str) -> None:
    upstream, front = pair
    claims = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=203.0.113.7;proto=https",
    } | (UPGRADE if address == SOCKET else {})
    fetch.get(front.url + fresh(address), headers=claims)
    told = upstream.seen[0].headers
    assert told.get_all("X-Forwarded-For") == ["127.0.0.1"]
    assert told.get_all("X-Forwarded-Proto") == ["http"]
    assert told.get_all("Forwarded") is None
    assert told["Host"] == f"127.0.0.1:{front.port}"


@pytest.mark.parametrize("address", EVERYWHERE)
def test_request_id_is_the_same_end_to_end(pair: Pair, address: str) -> None:
    upstream, front = pair
    upstream.answer = lambda exchange: exchange.reply(
        200, b"", X_Request_ID=exchange.headers["X-Request-ID"], Cache_Control=KEPT
    )
    more = UPGRADE if address == SOCKET else {}
    address = front.url + fresh(address)
    given = fetch.get(address, headers={"X-Request-ID": "trace-0123"} | more)
    assert upstream.seen[-1].headers["X-Request-ID"] == "trace-0123"
    assert given.headers.get_list("X-Request-ID") == ["trace-0123"]
    # A cached response too has this request's id, not that of the request that filled the cache.
    for odd in ("x", "a b c d e f", "x" * 81, '"quoted"'):
        made = fetch.get(address, headers={"X-Request-ID": odd} | more).headers.get_list("X-Request-ID")
        assert len(made) == 1 and made[0] != odd and len(made[0]) == 32


@pytest.mark.parametrize("address", [CAST, TALLY, VOTER, STREAM, PAGE, STATIC, "/"])
def test_only_websocket_paths_are_upgraded(pair: Pair, address: str) -> None:
    upstream, front = pair
    fetch.get(front.url + fresh(address), headers=UPGRADE)
    told = upstream.seen[0].headers
    assert (told["Upgrade"], told["Connection"]) == (None, None)


@pytest.mark.parametrize(
    ("method", "headers", "content"),
    [
        ("GET", {}, None),
        ("HEAD", UPGRADE, None),
        ("POST", UPGRADE, None),
        ("PUT", UPGRADE, b"body"),
        ("GET", UPGRADE, b"body"),
        ("GET", UPGRADE, [b"in", b"chunks"]),
        ("GET", UPGRADE | {"Upgrade": "h2c"}, None),
        ("POST", UPGRADE | {"Upgrade": "h2c"}, b"body"),
        ("GET", UPGRADE | {"Upgrade": "websocket, h2c"}, None),
    ],
)
def test_only_handshakes_reach_websocket_paths(
    pair: Pair, method: str, headers: dict[str, str], content: bytes | list[bytes] | None
) -> None:
    upstream, front = pair
    answer = fetch.request(method, front.url + fresh(SOCKET), headers=headers, content=content)
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert upstream.seen == []


@pytest.mark.parametrize("asked", ["websocket", "WebSocket"])
def test_handshake_is_forwarded(pair: Pair, asked: str) -> None:
    upstream, front = pair
    fetch.get(front.url + fresh(SOCKET), headers=UPGRADE | {"Upgrade": asked, "Content-Length": "0"})
    told = upstream.seen[0].headers
    assert (told["Upgrade"], told["Connection"], told["Content-Length"]) == ("websocket", "upgrade", None)


def test_refusals_carry_the_request_id(before: Before, crowd: ThreadPoolExecutor) -> None:
    with Upstream.serving() as gone:
        pass
    front = before(gone.port)
    asked: list[Future[httpx.Response]] = [
        crowd.submit(fetch.get, front.url + address, headers={"X-Request-ID": "trace-0123"})
        for address in (CAST, TALLY, VOTER, PAGE)
    ]
    assert {answer.result().headers["X-Request-ID"] for answer in asked} == {"trace-0123"}
