"""One way of a cast: its order of steps, its errors, and what it does on an event loop."""

import asyncio
import json
import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from structlog.contextvars import get_contextvars

from polls.casting import append_queue, log_writer
from polls.casting import cast as casting
from polls.casting.append_queue import AppendQueue
from polls.casting.ballot_box import RulesMayBeStale
from polls.casting.cast import LoopCasts
from polls.casting.request import CastRequest, CastResponse
from polls.errors import NotEligible
from polls.votelog.admission import NewBallot
from tests.polls.casting.appends import Clock, Store
from tests.servers import wait_for


def ballot(number: int) -> NewBallot:
    return NewBallot(1, number.to_bytes(16, "big"), number.to_bytes(16, "big"), str(number))


class Loader:
    """Rules that are always cached."""

    def __init__(self) -> None:
        self.checked: list[str] = []

    def cached(self, code: str) -> Any:
        return SimpleNamespace(code=code)

    async def check(self, function: Any, request: CastRequest, _rules: Any) -> NewBallot:
        self.checked.append(request.code)
        await asyncio.sleep(0)
        return ballot(int(request.code.strip("?")))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    store = Store()
    queue = AppendQueue(store.append, store.appended, limit=5)
    monkeypatch.setattr(log_writer, "process_queue", lambda: queue)
    yield store
    store.free()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(append_queue, "time", clock)
    settings.CAST_DEADLINE_SECONDS = 10
    return clock


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(request: CastRequest, _rules: Any) -> NewBallot:
        if request.code.endswith("?"):
            raise RulesMayBeStale
        error = {"closed": NotEligible("no"), "store": OperationalError("gone"), "bug": ZeroDivisionError()}
        if request.code in error:
            raise error[request.code]
        return ballot(int(request.code))

    monkeypatch.setattr(casting, "prepare", prepare)
    monkeypatch.setattr(append_queue, "APPEND_STUCK_SECONDS", 3600.0)


def cast(casts: LoopCasts, code: object, **parts: Any) -> asyncio.Future[CastResponse]:
    answer: asyncio.Future[CastResponse] = asyncio.get_running_loop().create_future()
    kind = parts.pop("content_type", "application/json")
    casts.cast(CastRequest(str(code), b"{}", kind, "testserver", **parts), answer.set_result)
    return answer


def codes(answers: Sequence[CastResponse]) -> list[str]:
    documents = [json.loads(answer.body) for answer in answers]
    return [document.get("code", document.get("status")) for document in documents]


def loop_casts() -> tuple[LoopCasts, Loader]:
    loader = Loader()
    return LoopCasts(loader), loader  # type: ignore[arg-type]


async def test_casts_of_the_same_turn_are_appended_together(store: Store) -> None:
    casts, _ = loop_casts()
    answers = [cast(casts, number) for number in (1, 3, 5)]
    await asyncio.to_thread(store.busy)
    assert casts.backpressure._size == 3
    store.free()
    assert codes(await asyncio.gather(*answers)) == ["accepted"] * 3
    assert store.batches == [[1, 3, 5]]
    assert casts.backpressure._size == 0


async def test_each_cast_gets_its_own_answer(store: Store) -> None:
    casts, loader = loop_casts()
    store.free()
    answers = await asyncio.gather(*(cast(casts, code) for code in (1, 2, "3?", "closed", 5)))
    assert codes(answers) == ["accepted", "already_voted", "accepted", "not_eligible", "accepted"]
    numbers = [int(json.loads(answer.body).get("ballot_id", "0").replace("-", ""), 16) for answer in answers]
    assert numbers == [1, 0, 3, 0, 5]
    assert loader.checked == ["3?"]


async def test_an_unexpected_error_is_logged_with_the_id_of_the_request(store: Store) -> None:
    bound: list[Any] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            bound.append((record.getMessage(), get_contextvars().get("request_id")))

    handler = Seen()
    logger = logging.getLogger("polls.casting.ballot_box")
    logger.addHandler(handler)
    casts, _ = loop_casts()
    answers = [cast(casts, code, request_id=code.encode()) for code in ("store", "bug")]
    logger.removeHandler(handler)
    assert codes(await asyncio.gather(*answers)) == ["outcome_unknown", "internal_error"]
    assert bound == [("cast_failed", "store"), ("internal_error", "bug")]


async def test_the_envelope_is_checked_first_and_a_full_queue_refuses(store: Store) -> None:
    casts, _ = loop_casts()
    assert codes([await cast(casts, "bug", content_type="text/plain")]) == ["unsupported_media_type"]
    waiting = [cast(casts, number) for number in (1, 3, 5, 7, 9)]
    assert codes([await cast(casts, 11)]) == ["overloaded"]
    assert casts.backpressure._size == 5
    store.free()
    assert codes(await asyncio.gather(*waiting)) == ["accepted"] * 5


async def test_at_the_deadline_every_cast_is_answered(store: Store, clock: Clock) -> None:
    casts, _ = loop_casts()
    for append, number in ((1, 1), (2, 5)):  # the second time, the timer has to start again
        under_way = cast(casts, number)
        await asyncio.to_thread(store.busy, append)
        queued = cast(casts, number + 2)
        casts._expire()
        assert casts._deadline is not None
        assert not under_way.done()
        clock.now += 10
        casts._expire()
        assert codes([await under_way, await queued]) == ["outcome_unknown", "overloaded"]
        assert casts._deadline is None
        assert casts.backpressure._size == 0
        store.may_finish.release()
        await asyncio.to_thread(wait_for, lambda append=append: len(store.announced) == append)
    assert store.batches == [[1], [5]]
