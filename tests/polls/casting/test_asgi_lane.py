"""The ASGI lane: answers without the database, its limits, and clients that disconnect."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.exceptions import TimeoutError as RedisTimeoutError

from polls import drafts, lifecycle
from polls.casting import ballot_box, log_writer
from polls.casting import cast as casting
from polls.casting.asgi_lane import AsgiLane, PassToDjango
from polls.casting.backpressure import STANDING_QUEUE_LIMIT, STANDING_QUEUE_SECONDS
from polls.errors import LogInconsistent
from polls.methods import MethodRules
from polls.models import Poll
from polls.votelog import get_log
from polls.votelog.admission import Outcome
from polls.votelog.entries import entries_of
from polls.voters import identity, poll_rules, rules_loader
from tests.polls.api_client import POLLS, make_poll
from tests.polls.differential import Received, Sent, TwoWays, ask, ask_raw, in_bytes
from tests.servers import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


class Door:
    """The lane in front of the real application, and an event loop to run it on."""

    def __init__(self) -> None:
        self.ways = TwoWays()
        self.lane: AsgiLane = self.ways.lane
        self._runner = asyncio.Runner()

    def run(self, work: Any) -> Any:
        """Run on one loop for all calls, so that background work such as a refresh of rules continues."""

        async def whole() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await work

        return self._runner.run(whole())

    def cast(self, *sent: Sent) -> list[Received]:
        async def together() -> Any:
            return await asyncio.gather(*(ask(self.lane, each) for each in sent))

        answers: list[Received] = self.run(together())
        return answers

    def pause(self) -> None:
        self.run(asyncio.sleep(0.02))

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the timeout: a busy machine must not look like a database that doesn't answer."""
    monkeypatch.setattr(rules_loader, "DATABASE_TIMEOUT", float(PATIENCE))


@pytest.fixture
def door() -> Iterator[Door]:
    poll_rules.clear_cache()
    door = Door()
    yield door
    door.close()


@pytest.fixture
def poll(door: Door) -> Poll:
    """A poll whose rules are cached, since somebody has voted."""
    poll = make_poll(open=True)
    assert statuses(door.cast(ballot(poll))) == [202]
    return poll


def ballot(poll: Poll, *selections: int, voter: str | None = None, **options: Any) -> Sent:
    fields = {name: options.pop(name) for name in ("ballot_id", "round") if name in options}
    body = json.dumps({"selections": selections or [1], **fields}).encode()
    headers = [
        (b"host", b"testserver"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cookie", b"voter=" + (voter or identity.new_cookie()).encode()),
    ]
    return Sent(f"{POLLS}{poll.code}/ballots/", headers, **{"pieces": (body,)} | options)


def statuses(answers: list[Received]) -> list[int]:
    return [answer.status for answer in answers]


def code(answer: Received) -> tuple[int, str]:
    return answer.status, json.loads(answer.body).get("code", "")


def in_the_log(poll: Poll) -> list[str]:
    """Return the selections of the poll's ballots."""
    log = get_log()
    blocks = [block for partition in range(log.partitions) for block in log.read(partition, 0, 10_000)]
    return [entry.selection for entry in entries_of(blocks) if entry.poll_id == poll.pk]


class Held:
    """A replacement for a function. Its calls block until the test releases them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._released = threading.Event()
        self.calls = 0
        self.threads: set[int] = set()

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        self.threads.add(threading.get_ident())
        assert self._released.wait(PATIENCE)
        return self._function(*args, **options)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Held]]:
    """hold(module, "name") blocks all calls of this function until the test releases them or ends."""
    all_held: list[Held] = []

    def hold(place: Any, name: str) -> Held:
        all_held.append(Held(getattr(place, name)))
        monkeypatch.setattr(place, name, all_held[-1])
        return all_held[-1]

    yield hold
    for held in all_held:
        held.release()


def aged(poll: Poll, seconds: float, **changes: Any) -> None:
    """Cache rules of this age for the poll, with these changes."""
    known = replace(poll_rules.get_rules(poll.code), **changes)
    poll_rules._cache[poll.code] = (time.monotonic() - seconds, known)


MORE_CHOICES = {"rules": MethodRules(frozenset(range(1, 10)))}


# --- the lane is used, without the database ---


def test_an_ordinary_cast_never_reaches_django(door: Door) -> None:
    poll = make_poll(open=True)
    answers = door.cast(*(ballot(poll, 1 + number % 3) for number in range(20)))
    assert statuses(answers) == [202] * 20
    assert door.ways.passed_on == []
    assert sorted(in_the_log(poll)) == sorted("123" * 6 + "12")


@pytest.mark.parametrize(
    ("more", "code_of_it"),
    [({"round": 7}, "round_changed"), ({"round": 0}, "malformed")],
)
def test_a_refused_cast_never_reaches_django(
    door: Door, poll: Poll, more: dict[str, Any], code_of_it: str
) -> None:
    (answer,) = door.cast(ballot(poll, **more))
    assert code(answer)[1] == code_of_it
    assert door.ways.passed_on == []


def test_a_voter_with_an_unknown_cookie_gets_a_new_one_as_from_django(door: Door, poll: Poll) -> None:
    sent = ballot(poll, voter="A" * 43)
    answer: Received = door.run(door.ways.compare(sent, lane_first=True))
    assert code(answer) == (401, "voter_unknown")
    assert len(answer.header(b"set-cookie")) == 1
    assert door.ways.passed_on == []


@pytest.mark.full_only
def test_no_ballot_queries_the_database_once_the_rules_are_cached(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    cursor = BaseDatabaseWrapper.cursor

    def noted(self: BaseDatabaseWrapper) -> Any:
        asked.append(threading.current_thread().name)
        return cursor(self)

    monkeypatch.setattr(BaseDatabaseWrapper, "cursor", noted)
    for _ in range(5):
        aged(poll, -3600)  # so that they aren't refreshed meanwhile
        assert statuses(door.cast(*(ballot(poll, 1 + number % 3) for number in range(20)))) == [202] * 20
    # The checkpoints are read once a second, in a thread of their own.
    assert set(asked) <= {"heads"}


# --- cached rules ---


def test_rules_older_than_a_second_are_used_while_they_are_refreshed(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_loader, "STALE_SECONDS", 3600)
    aged(poll, rules_loader.FRESH_SECONDS + 0.1, **MORE_CHOICES)
    assert statuses(door.cast(ballot(poll, 9))) == [202]
    while poll_rules._cache[poll.code][1].rules == MORE_CHOICES["rules"]:
        door.pause()
    assert code(door.cast(ballot(poll, 9))[0]) == (400, "invalid_selection")


def test_stale_rules_are_refreshed_before_the_ballot_is_cast(door: Door, poll: Poll) -> None:
    aged(poll, rules_loader.STALE_SECONDS + 0.1, **MORE_CHOICES)
    assert code(door.cast(ballot(poll, 9))[0]) == (400, "invalid_selection")
    assert "9" not in in_the_log(poll)


def test_one_lookup_serves_all_waiting_casts(door: Door, hold: Callable[..., Held]) -> None:
    poll = make_poll(open=True)
    look = hold(poll_rules, "_load")

    async def many() -> list[Received]:
        casts = [asyncio.create_task(ask(door.lane, ballot(poll))) for _ in range(50)]
        while not look.calls:
            await asyncio.sleep(0.01)
        look.release()
        return list(await asyncio.gather(*casts))

    assert statuses(door.run(many())) == [202] * 50
    assert look.calls == 1


def test_a_change_of_the_poll_takes_effect_at_once(door: Door, poll: Poll) -> None:
    lifecycle.close_poll(poll.pk)
    assert code(door.cast(ballot(poll))[0]) == (409, "poll_not_open")
    other = make_poll(open=True)
    assert statuses(door.cast(ballot(other))) == [202]
    lifecycle.reset_poll(other.pk)
    drafts.change_poll(other.pk, choices=["Tea", "Milk"])
    lifecycle.open_poll(other.pk)
    answers = door.cast(
        ballot(other, 4), ballot(other, 2), ballot(other, 1, round=2), ballot(other, 1, round=1)
    )
    assert [code(answer) for answer in answers] == [
        (202, ""),
        (400, "invalid_selection"),
        (202, ""),
        (409, "round_changed"),
    ]


def test_a_deleted_poll_is_not_found(door: Door, poll: Poll) -> None:
    aged(poll, rules_loader.STALE_SECONDS + 0.1)
    rules_of_it = poll_rules._cache[poll.code]
    Poll.objects.filter(pk=poll.pk).delete()
    poll_rules._cache[poll.code] = rules_of_it
    assert code(door.cast(ballot(poll))[0]) == (404, "poll_not_found")


def test_cached_rules_are_used_while_the_database_does_not_answer(
    door: Door, poll: Poll, hold: Callable[..., Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_loader, "DATABASE_TIMEOUT", 0.1)
    look = hold(poll_rules, "_load")
    aged(poll, 3600)
    for _ in range(3):  # only the first cast waits for the timeout
        assert statuses(door.cast(ballot(poll), ballot(poll))) == [202, 202]
        door.run(asyncio.sleep(0.06))
    assert look.calls == 1  # one load hangs, and no second one is started
    look.release()


@pytest.mark.parametrize("age", [0.0, 2.0, 3600.0])
def test_cached_rules_are_used_while_the_database_is_down(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    aged(poll, age)
    monkeypatch.setattr(poll_rules, "_load", failing(OperationalError("connection refused")))
    assert statuses(door.cast(*(ballot(poll) for _ in range(5)))) == [202] * 5
    assert door.ways.passed_on == []


# --- work that needs the database is bounded ---


def test_checks_of_invalid_selections_are_bounded(
    door: Door, poll: Poll, hold: Callable[..., Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_loader, "MAX_CHECKS", 20)
    aged(poll, -3600)  # so that no refresh waits behind the checks
    looks = hold(casting, "prepare_with_fresh_rules")

    async def flood() -> tuple[list[Received], list[Received]]:
        casts = [asyncio.create_task(ask(door.lane, ballot(poll, 99))) for _ in range(60)]
        while len(turned_away := {cast for cast in casts if cast.done()}) < 40:
            await asyncio.sleep(0.01)
        meanwhile = await ask(door.lane, ballot(poll))
        assert meanwhile.status == 202
        assert len(turned_away) == 40
        assert looks.calls <= rules_loader.DATABASE_THREADS
        looks.release()
        return [task.result() for task in turned_away], list(await asyncio.gather(*casts))

    turned_away, answers = door.run(flood())
    assert {code(answer) for answer in turned_away} == {(503, "overloaded")}
    assert sorted(map(code, answers)) == [(400, "invalid_selection")] * 20 + [(503, "overloaded")] * 40
    assert len(looks.threads) <= rules_loader.DATABASE_THREADS
    assert code(door.cast(ballot(poll, 99))[0]) == (400, "invalid_selection")


def test_loads_of_unknown_polls_are_bounded(
    door: Door, hold: Callable[..., Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_loader, "MAX_LOADS", 10)
    looks = hold(poll_rules, "_load")

    async def flood() -> tuple[list[Received], list[Received]]:
        unknown = [ballot(Poll(code=f"NO{n:04}")) for n in range(50)]
        casts = [asyncio.create_task(ask(door.lane, sent)) for sent in unknown]
        while len(turned_away := {cast for cast in casts if cast.done()}) < 40:
            await asyncio.sleep(0.01)
        assert len(turned_away) == 40
        looks.release()
        return [task.result() for task in turned_away], list(await asyncio.gather(*casts))

    turned_away, answers = door.run(flood())
    assert {code(answer) for answer in turned_away} == {(503, "overloaded")}
    assert sorted(map(code, answers)) == [(404, "poll_not_found")] * 10 + [(503, "overloaded")] * 40
    assert door.ways.passed_on == []


# --- clients that disconnect ---


@pytest.mark.parametrize("pieces", [(), (b"",), (b'{"selec',), (b'{"selec', b"tions")])
def test_a_disconnect_in_the_middle_of_a_body_harms_no_other_cast(
    door: Door, poll: Poll, pieces: tuple[bytes, ...]
) -> None:
    before = in_the_log(poll)
    gone, there = door.cast(ballot(poll, pieces=pieces, hangs_up=True), ballot(poll, 2))
    assert (gone.status, there.status) == (0, 202)
    assert door.ways.passed_on == []
    assert sorted(in_the_log(poll)) == [*before, "2"]


def test_a_disconnect_before_the_answer_loses_no_ballot(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ballot is on its way, and a retry finds it."""
    sent = ballot(poll, 3, ballot_id=str(uuid.uuid4()))
    queue, waiting = log_writer.process_queue(), asyncio.Event()
    add = queue.add

    def noted(entry: Any) -> None:
        waiting.set()
        add(entry)

    monkeypatch.setattr(queue, "add", noted)

    async def hang_up() -> Received:
        gone = asyncio.create_task(ask(door.lane, sent))
        there = asyncio.create_task(ask(door.lane, ballot(poll, 2)))
        await waiting.wait()
        gone.cancel()
        return await there

    assert door.run(hang_up()).status == 202
    while "3" not in in_the_log(poll):
        door.pause()
    assert statuses(door.cast(sent)) == [202]
    assert in_the_log(poll).count("3") == 1


# --- overload ---


async def fill(lane: AsgiLane) -> None:
    """Put the lane into overload."""
    backpressure = lane.casts().backpressure
    for _ in range(STANDING_QUEUE_LIMIT):
        backpressure.enter()
    backpressure._busy_since -= STANDING_QUEUE_SECONDS + 1
    assert backpressure.full


def test_a_full_queue_refuses_as_django_would(
    door: Door, poll: Poll, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = in_the_log(poll)

    async def find_it_full() -> Received:
        await fill(door.lane)
        return await ask(door.lane, ballot(poll))

    turned_away = door.run(find_it_full())
    monkeypatch.setattr(log_writer.process_queue(), "_limit", 0)
    by_django: Received = door.run(ask(door.ways.behind, ballot(poll)))
    assert code(turned_away) == (503, "overloaded")
    assert turned_away.header(b"retry-after") == [b"1"]
    assert turned_away.comparable() == by_django.comparable()
    assert in_the_log(poll) == before


def test_an_unparsed_cast_gets_the_same_refusal(door: Door, poll: Poll, settings: Any) -> None:
    sent, raw_lane = ballot(poll), door.ways.raw_lane

    async def answers() -> tuple[Received | None, Received]:
        await fill(door.lane)
        return await ask_raw(raw_lane, in_bytes(sent)), await ask(door.lane, sent)

    unparsed, parsed = door.run(answers())
    assert unparsed
    assert code(unparsed) == (503, "overloaded")
    assert unparsed.comparable() == parsed.comparable()


def test_a_cast_that_finds_the_queue_full_late_gets_the_same_refusal(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API clients' batches may fill the queue."""
    monkeypatch.setattr(log_writer.process_queue(), "_limit", 0)

    async def answers() -> list[Received | None]:
        sent = ballot(poll)
        return [await ask_raw(door.ways.raw_lane, in_bytes(sent)), await ask(door.lane, sent)]

    unparsed, parsed = door.run(answers())
    assert unparsed and parsed
    assert code(unparsed) == (503, "overloaded")
    assert unparsed.status == parsed.status and unparsed.body == parsed.body


def test_over_https_a_request_is_parsed_before_it_is_refused(poll: Poll, settings: Any) -> None:
    """The headers depend on the scheme, which the bytes don't show."""
    settings.SECURE_HSTS_SECONDS = 600
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    door = Door()

    async def answers() -> tuple[Received | None, Received]:
        await fill(door.lane)
        data = in_bytes(ballot(poll), b"X-Forwarded-Proto: https")
        return await ask_raw(door.ways.raw_lane, data), await ask(door.lane, ballot(poll, scheme="https"))

    unparsed, parsed = door.run(answers())
    assert unparsed is None
    assert code(parsed) == (503, "overloaded")
    assert parsed.header(b"strict-transport-security") == [b"max-age=600"]
    door.close()


@pytest.mark.parametrize("full", [False, True])
def test_requests_that_are_not_a_plain_cast_in_one_piece_are_parsed(
    full: bool, door: Door, poll: Poll, settings: Any
) -> None:
    sent = ballot(poll)
    whole, raw_lane = in_bytes(sent), door.ways.raw_lane
    door.cast(sent)  # so that the rules are cached
    odd = [
        whole[:-1],
        whole + b"P",
        whole + whole,
        b"\r\n" + whole,
        whole.replace(b"POST", b"PUT"),
        whole.replace(b"/ballots/", b"/ballots/batch/"),
        whole.replace(b"/ballots/ ", b"/voter/ "),
        whole.replace(b"/ballots/ ", b"/ballots/?a=b "),
        whole.replace(b"HTTP/1.1", b"HTTP/1.0"),
        whole.replace(b"content-length", b"x-length"),
        whole.replace(b"content-length:", b"content-length :"),
        whole.replace(b"content-length:", b"content-length:1\r\n "),
        whole.replace(b"\r\n", b"\n"),
        in_bytes(sent, b"Transfer-Encoding: chunked"),
        in_bytes(sent, b"Connection:close"),
        in_bytes(sent, b"Connection: Upgrade"),
        in_bytes(sent, b"connection: keep-alive, upgrade"),
        in_bytes(sent, b"expect: 100-continue"),
        in_bytes(sent, b"content-length: 1"),
        in_bytes(sent, b"Content-Length: %d" % len(sent.pieces[0])),
        in_bytes(sent, b"x: a\x00b"),
        in_bytes(sent, b"no colon"),
        b"",
    ]

    async def answers() -> list[Received | None]:
        if full:
            await fill(door.lane)
        assert await ask_raw(raw_lane, whole)
        return [await ask_raw(raw_lane, data) for data in odd]

    assert door.run(answers()) == [None] * len(odd)


@pytest.mark.parametrize("length", [b"0" * 5000 + b"2", b"9" * 5000, b"\xb2"])
def test_an_invalid_content_length_is_passed_to_django(door: Door, length: bytes) -> None:
    cookie = b"voter=" + identity.new_cookie().encode()
    headers = [(b"content-type", b"application/json"), (b"host", b"testserver"), (b"cookie", cookie)]
    with pytest.raises(PassToDjango):
        door.lane.read_headers([*headers, (b"content-length", length)], None, secure=False)
    assert door.lane.read_headers([*headers, (b"content-length", b"2")], None, secure=False)[0] == 2


# --- errors behind the lane ---


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (RedisTimeoutError("frozen"), (503, "outcome_unknown")),
        (OSError("disk full"), (503, "outcome_unknown")),
        (LogInconsistent(), (503, "log_inconsistent")),
    ],
)
def test_a_failing_log_gets_the_same_response_both_ways(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch, failure: Exception, seen: tuple[int, str]
) -> None:
    monkeypatch.setattr(get_log(), "append", failing(failure))
    assert code(door.run(door.ways.compare(ballot(poll), lane_first=True))) == seen
    monkeypatch.undo()
    assert statuses(door.cast(ballot(poll))) == [202]


@pytest.mark.parametrize("verdict", ["overloaded", "outcome_unknown", "unavailable", "log_inconsistent"])
def test_an_outcome_of_a_partition_gets_the_same_response_both_ways(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    monkeypatch.setattr(get_log(), "append", lambda ballots, _expected: [Outcome(verdict)] * len(ballots))
    assert code(door.run(door.ways.compare(ballot(poll), lane_first=True))) == (503, verdict)


def test_a_failing_database_gets_the_same_response_both_ways(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ballot_box, "rules_of_round", failing(OperationalError("gone")))
    doubted = ballot(poll, 99)
    assert code(door.run(door.ways.compare(doubted, lane_first=True))) == (503, "outcome_unknown")


def test_a_bug_gets_a_problem_document_both_ways(
    door: Door, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ballot_box, "rules_of_round", failing(ZeroDivisionError()))
    for way in (door.lane, door.ways.behind):
        answer: Received = door.run(ask(way, ballot(poll, 99)))
        assert code(answer) == (500, "internal_error")
        assert answer.header(b"content-type") == [b"application/problem+json"]
