"""deploy/nginx.conf in front of web processes that are slow, overloaded or dead."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest

from polls.errors import OutcomeUnknown, Overloaded, Unavailable
from tests import fetch
from tests.deploy.addresses import (
    BALLOT,
    BATCH,
    CAST,
    PAGE,
    STATIC,
    TALLY,
    VOTER,
    Before,
    Pair,
    fresh,
)
from tests.deploy.documents import assert_problem
from tests.deploy.upstream import Exchange, Upstream
from tests.e2e.clients import new_voter
from tests.servers import wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


# --- too many requests ---


class Busy:
    """An upstream that holds each request until `done` is set."""

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
    assert len(upstream.seen) == 3, "a refused ballot reached the upstream"
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
    # Now nothing can be sent, so the refusal is certain.
    assert_problem(voter.post(CAST, json=ballot), Overloaded())
    system.start()
    answer = voter.post(CAST, json=ballot)
    assert (answer.status_code, answer.json()["ballot_id"]) == (202, ballot["ballot_id"])


def unread(port: int) -> int:
    """Return the bytes that arrived on this port but haven't been read by its process."""
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
        assert len(upstream.seen) + len(other.seen) == 2, "a ballot reached the upstreams twice"


def test_unsent_ballot_is_tried_on_another_machine(upstream: Upstream, before: Before) -> None:
    with Upstream.serving() as gone:
        pass
    front = before(upstream.port, also(upstream, gone.port))
    assert {fetch.post(front.url + CAST, json=BALLOT).status_code for _ in range(4)} == {200}


def also(upstream: Upstream, port: int) -> dict[str, str]:
    """Return changes that add a second machine to each upstream."""
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
