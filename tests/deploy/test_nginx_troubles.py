"""deploy/nginx.conf before web processes that are slow, dead, rude or lied to."""

import contextlib
import http.client
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest

from polls.errors import OutcomeUnknown, Overloaded, Unavailable
from tests import fetch
from tests.deploy.documents import assert_problem
from tests.deploy.upstream import Exchange, Upstream
from tests.e2e.clients import new_voter
from tests.servers import PATIENCE, Nginx, started, wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CAST, BATCH = "/api/v1/polls/DEMO/ballots/", "/api/v1/polls/DEMO/ballots/batch/"
TALLY, VOTER, STREAM = (f"/api/v1/polls/DEMO/{name}/" for name in ("tally", "voter", "stream"))
PAGE, STATIC, SOCKET = "/p/DEMO/", "/static/js/vote/vote.js", "/ws/polls/DEMO/"
EVERYWHERE = [CAST, BATCH, TALLY, VOTER, STREAM, PAGE, STATIC, "/", SOCKET]
UPGRADE = {"Connection": "upgrade", "Upgrade": "websocket"}
BALLOT = {"selections": [1]}
PUBLIC, KEPT = "public, max-age=1, stale-while-revalidate=10", "public, max-age=600"

Before = Callable[..., Nginx]
Pair = tuple[Upstream, Nginx]
numbers = itertools.count()


@pytest.fixture(scope="module")
def shipped() -> Iterator[Pair]:
    with Upstream.serving() as upstream, started(front := Nginx(upstream.port)):
        yield upstream, front


@pytest.fixture
def pair(shipped: Pair) -> Pair:
    """A server that does as told, and nginx as shipped before it: one for all who break neither of them.

    What nginx keeps it keeps from test to test, so they ask for `fresh` addresses.
    """
    shipped[0].begin_anew()
    return shipped


def fresh(address: str) -> str:
    """Such an address as nobody has asked for before."""
    number = next(numbers)
    return address.replace("DEMO", f"DEMO{number}").replace("vote.js", f"vote{number}.js")


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


# --- too many at once ---


class Busy:
    """Web processes that hold each request until they are let go."""

    def __init__(self, upstream: Upstream) -> None:
        self.done = Event()
        self.upstream = upstream
        upstream.answer = self.answer

    def answer(self, exchange: Exchange) -> None:
        self.done.wait(60)
        exchange.reply(202, b"{}")

    def holds(self, number: int) -> None:
        wait_for(lambda: len(self.upstream.seen) >= number, what=f"{number} requests")


@pytest.mark.parametrize(("address", "bound"), [(CAST, "max_conns=256"), (BATCH, "max_conns=8")])
def test_ballot_over_max_conns_is_refused_at_once(
    upstream: Upstream, before: Before, crowd: ThreadPoolExecutor, address: str, bound: str
) -> None:
    front = before(upstream.port, {bound: "max_conns=3"})
    busy = Busy(upstream)
    held = [crowd.submit(fetch.post, front.url + address, json=BALLOT) for _ in range(3)]
    busy.holds(3)
    for _ in range(20):
        assert_problem(fetch.post(front.url + address, json=BALLOT), Overloaded())
    busy.done.set()
    assert {answer.result().status_code for answer in held} == {202}
    assert len(upstream.seen) == 3, "a refused ballot got through"
    assert fetch.post(front.url + address, json=BALLOT).status_code == 202


def test_ballots_do_not_use_up_other_upstreams(
    upstream: Upstream, before: Before, crowd: ThreadPoolExecutor
) -> None:
    front = before(upstream.port, {"max_conns=256": "max_conns=3"})
    busy = Busy(upstream)
    held = [crowd.submit(fetch.post, front.url + CAST, json=BALLOT) for _ in range(3)]
    busy.holds(3)
    upstream.answer = lambda exchange: exchange.reply(200, b"ok")
    for address in (TALLY, VOTER, PAGE, STATIC, "/"):
        assert fetch.get(front.url + address).status_code == 200
    busy.done.set()
    assert {answer.result().status_code for answer in held} == {202}


def test_reads_over_max_conns_get_a_503_too(
    upstream: Upstream, before: Before, crowd: ThreadPoolExecutor
) -> None:
    front = before(upstream.port, {"max_conns=256": "max_conns=3"})
    busy = Busy(upstream)
    held = [crowd.submit(fetch.get, front.url + VOTER) for _ in range(3)]
    busy.holds(3)
    for address in (TALLY, VOTER):
        assert_problem(fetch.get(front.url + address), Overloaded())
    for address in (PAGE, "/", "/admin/"):
        assert_page_that_waits(fetch.get(front.url + address))
    busy.done.set()
    assert {answer.result().status_code for answer in held} == {202}


def assert_page_that_waits(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    assert '<meta http-equiv="refresh"' in answer.text


# --- web processes that die ---


def test_process_killed_during_a_cast_gives_outcome_unknown(
    shared_embedded: Landslide, before: Before, crowd: ThreadPoolExecutor
) -> None:
    system = shared_embedded
    front = before(system.port)
    voter = new_voter(front.url, "DEMO")
    ballot = BALLOT | {"ballot_id": str(uuid.uuid4())}
    system.freeze()
    casting = crowd.submit(voter.post, CAST, json=ballot)
    wait_for(lambda: unread(system.port) > 0, what="a ballot before the frozen process")
    system.kill()
    assert_problem(casting.result(), OutcomeUnknown())
    # Now nothing can be sent any more, and that is certain.
    assert_problem(voter.post(CAST, json=ballot), Overloaded())
    system.start()
    answer = voter.post(CAST, json=ballot)
    assert (answer.status_code, answer.json()["ballot_id"]) == (202, ballot["ballot_id"])


def unread(port: int) -> int:
    """Bytes that arrived for connections on this port and that its program hasn't read."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = "0A"
    return sum(
        int(queues.partition(":")[2], 16)
        for _, local, _, state, queues, *_ in rows
        if local.endswith(f":{port:04X}") and state != listening
    )


@pytest.mark.parametrize("address", [CAST, BATCH])
def test_sent_ballot_is_not_repeated_on_another_machine(
    upstream: Upstream, before: Before, address: str
) -> None:
    upstream.answer = Exchange.hang_up
    with Upstream.serving() as other:
        front = before(upstream.port, also(upstream, other.port))
        answers = [fetch.post(front.url + address, json=BALLOT) for _ in range(2)]
        unknown = [answer for answer in answers if answer.status_code == 503]
        assert len(unknown) >= 1
        for answer in unknown:
            assert_problem(answer, OutcomeUnknown())
        assert len(upstream.seen) + len(other.seen) == 2, "a ballot came twice"


def test_unsent_ballot_is_tried_on_another_machine(upstream: Upstream, before: Before) -> None:
    with Upstream.serving() as gone:
        pass
    front = before(upstream.port, also(upstream, gone.port))
    assert {fetch.post(front.url + CAST, json=BALLOT).status_code for _ in range(4)} == {200}


def also(upstream: Upstream, port: int) -> dict[str, str]:
    """A second machine in each group."""
    one = f"server 127.0.0.1:{upstream.port}"
    return {one: f"server 127.0.0.1:{port}; {one}"}


def test_missing_response_gives_outcome_unknown(upstream: Upstream, before: Before) -> None:
    front = before(upstream.port, {"proxy_read_timeout 15s": "proxy_read_timeout 1s"})
    busy = Busy(upstream)
    assert_problem(fetch.post(front.url + CAST, json=BALLOT), OutcomeUnknown())
    busy.done.set()


def test_truncated_response_gives_outcome_unknown(upstream: Upstream, before: Before) -> None:
    def begin(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 202 Acc")
        exchange.hang_up()

    upstream.answer = begin
    front = before(upstream.port)
    assert_problem(fetch.post(front.url + CAST, json=BALLOT), OutcomeUnknown())


def test_other_requests_without_a_response_get_unavailable(upstream: Upstream, before: Before) -> None:
    upstream.answer = Exchange.hang_up
    front = before(upstream.port)
    assert_problem(fetch.post(f"{front.url}/api/v1/polls/DEMO/close/", json={}), Unavailable())
    assert_page_that_waits(fetch.get(front.url + PAGE))


def test_landslides_own_errors_are_passed_on(pair: Pair) -> None:
    upstream, front = pair
    for status in (409, 429, 500, 502, 503, 504):
        upstream.answer = lambda exchange, status=status: exchange.reply(
            status, b'{"code": "ours"}', Content_Type="application/problem+json", Retry_After="7"
        )
        for address in (CAST, BATCH, TALLY, VOTER, PAGE):
            method = "GET" if address in (TALLY, PAGE) else "POST"
            answer = fetch.request(method, front.url + fresh(address))
            assert (answer.status_code, answer.content) == (status, b'{"code": "ours"}')
            assert answer.headers["Retry-After"] == "7"


# --- the cache ---


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
    """Each answer differs from the one before."""

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


def said(port: int, target: str, host: str, cookie: str = "") -> tuple[int, str]:
    """Status and X-Cache of a target sent just as it is, which clients would tidy up."""
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
    assert said(front.port, address, host) == (200, "MISS")
    for target in (
        *(f"{address}#x", f"{address}?x", f"{address}?x#y", f"/{address}", f"/.{address}"),
        *(spelled, f"{spelled}#y", address.replace("/", "/x/../", 1), f"http://{host}{address}"),
    ):
        assert said(front.port, target, host) == (200, "HIT"), target
    for odd in (host.upper(), host.replace(":", ".:")):
        assert said(front.port, address, odd) == (200, "HIT"), odd
    assert [request.path for request in upstream.seen] == [address]
    # Another port is another origin, which pages name.
    assert said(front.port, address, "localhost:1") == (200, "MISS")


def test_upstream_gets_the_normalised_address(pair: Pair) -> None:
    """Else a request could fill one page's place with another."""
    upstream, front = pair
    upstream.answer = tally_of(upstream, **{"Cache-Control": KEPT})
    address = fresh(PAGE)
    name = address.removeprefix("/p").removesuffix("/")
    said(front.port, f"/p/OTHER/..{name}%23results/?a", "localhost")
    said(front.port, f"/p/OTHER/..{name}%3fa%0d%0aX:%20y/", "localhost")
    said(front.port, f"http://a.test{address}", "b.test")
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


# --- what is written down ---


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


# --- who asks ---


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
    # Of a cached answer too: it is this request's id, not that of whoever filled the cache.
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
