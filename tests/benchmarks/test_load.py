"""The load generator: what it counts, and that waiting for a slow server counts as latency."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.load.generator import Book, Generator, Schedule
from benchmarks.load.plan import Plan, Report, percentiles
from benchmarks.load.run import LoadFailed, Void
from benchmarks.load.source import get, post, read_requests, source, write_requests
from benchmarks.load.wire import Incomplete, parse
from benchmarks.measure import Bench
from benchmarks.targets.base import sound

BODY = '{"ballot_id":"{ballot_id}","round":1,"selections":[{choice}]}'
TEMPLATE = post("/ballots/", BODY, cookie="voter={cookie}")


# --- when a request is due ---


def test_requests_are_due_by_the_clock_alone() -> None:
    schedule = Schedule(rate=100, start=5)
    assert [schedule.due(at) for at in (4.999, 5, 5.005, 5.011, 6)] == [0, 1, 1, 2, 101]
    assert [schedule.time_of(number) for number in (0, 1, 100)] == [5, 5.01, 6]


def test_a_stall_costs_every_request_that_was_due_meanwhile() -> None:
    """Coordinated omission: with 100 requests per second, the server stalls from second 1 to second 2.

    Measured from the moment of sending, only one of 200 requests would have been slow.
    """
    schedule, book = Schedule(rate=100, start=0), Book()
    for number in range(200):
        due = schedule.time_of(number)
        answered = max(due, 2.0) if due >= 1 else due
        book.accept(number, due, answered + 0.001, units=1, in_time=True)
    found = percentiles(book.accepted_after)
    assert found["p50"] == pytest.approx(1, rel=0.05)
    assert found["p90"] == pytest.approx(801, rel=0.01)
    assert found["max"] == pytest.approx(1001, rel=0.01)


def test_percentiles_of_nothing_are_no_figures() -> None:
    assert percentiles([]) == {}


def test_a_load_that_was_late_itself_is_void() -> None:
    assert not Report(own_lag={"p99": 3}).void
    assert "behind its own schedule" in Report(own_lag={"p99": 80}).void
    assert "ran out" in Report(ran_out=True).void


def test_a_report_is_the_same_after_writing_and_reading_it_as_json() -> None:
    report = Report(sent=3, accepted=2, statuses={"202": 2, "503": 1}, latency={"p50": 1.5})
    assert Report.read(report.write()) == report


# --- requests ---


@pytest.fixture
def voters(tmp_path: Path) -> str:
    path = tmp_path / "voters"
    path.write_text("anna\nbert\ncleo\n")
    return str(path)


def test_each_ballot_has_its_own_voter_and_id(voters: str) -> None:
    make, ballot_id, there = source(Plan(0, TEMPLATE, voters=voters, choices=2))
    assert there == 3
    requests = [make(number).decode() for number in range(3)]
    bodies = [json.loads(text.partition("\r\n\r\n")[2]) for text in requests]
    for name, text in zip(("anna", "bert", "cleo"), requests, strict=True):
        assert f"Cookie: voter={name}\r\n" in text
    assert [body["selections"] for body in bodies] == [[1], [2], [1]]
    assert [body["ballot_id"] for body in bodies] == [ballot_id(number) for number in range(3)]
    assert len({uuid.UUID(body["ballot_id"]).version for body in bodies}) == 1
    for text in requests:
        head, _, body = text.partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}" in head


def test_a_later_load_goes_on_with_other_voters(voters: str) -> None:
    make, _, there = source(Plan(0, TEMPLATE, voters=voters, first=2))
    assert (there, b"voter=cleo" in make(0)) == (1, True)


def test_ready_made_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    requests = [b"GET / HTTP/1.1\r\n\r\n", b"", bytes(range(256)) * 300]
    write_requests(tmp_path / "requests", requests)
    assert read_requests(tmp_path / "requests") == requests


# --- answers ---


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok", b"202", b"ok"),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nx: y\r\n\r\nok", b"202", b"ok"),
        (b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\nContent-Length: 99\r\n\r\n", b"304", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"200",
            b"2\r\nok\r\n0\r\n\r\n",
        ),
    ],
)
def test_an_answer_is_complete_only_with_its_last_byte(answer: bytes, status: bytes, body: bytes) -> None:
    assert parse(answer)[::2] == (status, body)
    for cut in range(1, len(answer)):
        with pytest.raises(Incomplete):
            parse(answer[:cut])


# --- against a server ---

Answer = Callable[[int], bytes]
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
OVERLOADED = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 21\r\n\r\n" + b'{"code":"overloaded"}'


async def load_on(answer: Answer, plan: Plan) -> Report:
    """Run the plan on a server that answers its n-th request with answer(n); b"" closes the connection."""
    seen, handlers = [0], set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
                seen[0] += 1
                if not (found := answer(seen[0] - 1)):
                    break
                writer.write(found)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    plan.port = server.sockets[0].getsockname()[1]
    generator = Generator(plan)
    await generator.connect()
    report = await generator.run()
    for connection in list(generator.open):
        connection.transport.abort()
    server.close()
    await asyncio.gather(*handlers)
    return report


async def test_outcomes_are_counted_by_status_and_code(voters: str) -> None:
    plan = Plan(0, TEMPLATE, voters=voters, rate=100, seconds=0.03, connections=1)
    report = await load_on(lambda number: OVERLOADED if number == 1 else ACCEPTED, plan)
    assert (report.sent, report.accepted, report.unknown) == (3, 2, 0)
    assert report.statuses == {"202": 2, "503": 1}
    assert report.codes == {"overloaded": 1}


async def test_a_ballot_is_sent_again_after_a_temporary_refusal(voters: str) -> None:
    plan = Plan(0, TEMPLATE, voters=voters, rate=100, seconds=0.03, connections=1, retries=3)
    report = await load_on(lambda number: OVERLOADED if number < 2 else ACCEPTED, plan)
    assert (report.sent, report.accepted, report.retried) == (3, 3, 2)


async def test_a_hang_up_leaves_an_unknown_outcome(voters: str) -> None:
    plan = Plan(0, TEMPLATE, voters=voters, rate=100, seconds=0.03, connections=2)
    report = await load_on(lambda number: b"" if number == 0 else ACCEPTED, plan)
    assert (report.accepted, report.unknown) == (2, 1)


async def test_an_unpaced_load_stops_when_voters_run_out(voters: str) -> None:
    report = await load_on(lambda _: ACCEPTED, Plan(0, TEMPLATE, voters=voters, seconds=1, connections=2))
    assert (report.accepted, report.ran_out) == (3, True)


def test_a_get_has_no_body() -> None:
    assert get("/tally/", "If-None-Match: x\r\n").endswith("If-None-Match: x\r\n\r\n")


# --- reports that are void ---


@pytest.mark.parametrize(
    ("report", "error"),
    [
        (Report(accepted=1, statuses={"202": 1}, own_lag={"p99": 80}), Void),
        (Report(accepted=1, statuses={"202": 1}, ran_out=True), Void),
        (Report(accepted=1, statuses={"202": 1, "500": 1}), LoadFailed),
        (Report(accepted=0, statuses={}), LoadFailed),
    ],
)
def test_a_report_of_a_failed_or_void_load_is_an_error(report: Report, error: type[LoadFailed]) -> None:
    with pytest.raises(error):
        sound(report)


def test_a_void_sample_is_repeated_only_a_few_times(tmp_path: Path) -> None:
    bench = Bench(True, 1, 1, Console(quiet=True), tmp_path)
    tries: list[int] = []

    def take(voids: int) -> str:
        tries.append(1)
        if len(tries) <= voids:
            raise Void("late")
        return "sample"

    assert bench.sound(lambda: take(voids=2)) == "sample"
    tries.clear()
    with pytest.raises(Void):
        bench.sound(lambda: take(voids=3))


def test_samples_are_taken_in_turn(tmp_path: Path) -> None:
    bench, order = Bench(True, 2, 1, Console(quiet=True), tmp_path), []
    takes = {name: lambda name=name: order.append(name) or len(order) for name in ("ours", "stock")}
    assert bench.in_turn(takes) == {"ours": [1, 3], "stock": [2, 4]}
