"""Rules for an event loop: when cached rules are used, refreshed or awaited, and how much work may wait."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from polls.errors import Overloaded, PollNotFound
from polls.voters import poll_rules, rules_loader
from polls.voters.rules_loader import RulesLoader
from tests.servers import PATIENCE


class Database:
    """Loads rules when the test says. Each load gives other rules."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    def load(self, code: str) -> Any:
        self.loads.append(code)
        assert self.answers.wait(PATIENCE)
        if code == "GONE":
            raise PollNotFound()
        rules = SimpleNamespace(code=code, number=len(self.loads))
        poll_rules._cache[code] = (time.monotonic(), rules)  # type: ignore[assignment]
        return rules


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = Database()
    monkeypatch.setattr(poll_rules, "_cache", {})
    monkeypatch.setattr(poll_rules, "get_rules", database.load)
    monkeypatch.setattr(rules_loader, "closing_connections", lambda function, *args: function(*args))
    monkeypatch.setattr(rules_loader, "DATABASE_TIMEOUT", float(PATIENCE))
    yield database
    database.answers.set()


@pytest.fixture
def aged() -> Callable[[str, float], Any]:
    """aged(code, seconds) caches rules of this age."""

    def aged(code: str, seconds: float) -> Any:
        rules = SimpleNamespace(code=code, number=0)
        poll_rules._cache[code] = (time.monotonic() - seconds, rules)  # type: ignore[assignment]
        return rules

    return aged


async def test_fresh_rules_are_used_without_the_database(
    database: Database, aged: Callable[[str, float], Any]
) -> None:
    rules = aged("ABC", -3600)
    assert RulesLoader().cached("ABC") is rules
    assert RulesLoader().cached("XYZ") is None
    assert database.loads == []


async def test_old_rules_are_used_while_they_are_refreshed_and_stale_ones_are_not(
    database: Database, aged: Callable[[str, float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    database.answers.clear()
    loader = RulesLoader()
    monkeypatch.setattr(rules_loader, "STALE_SECONDS", 3600.0)
    rules = aged("ABC", rules_loader.FRESH_SECONDS + 1)
    assert loader.cached("ABC") is rules
    monkeypatch.setattr(rules_loader, "STALE_SECONDS", 1.5)
    assert loader.cached("ABC") is None
    waiting = asyncio.gather(loader.load("ABC"), loader.load("ABC"))
    database.answers.set()
    first, second = await waiting
    assert first is second
    assert first is not rules
    assert database.loads == ["ABC"], "one load serves all"


async def test_stale_rules_are_used_if_the_database_does_not_answer(
    database: Database, aged: Callable[[str, float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    database.answers.clear()
    loader = RulesLoader()
    rules = aged("ABC", 3600)
    assert loader.cached("ABC") is None
    monkeypatch.setattr(rules_loader, "DATABASE_TIMEOUT", 0.01)
    assert await loader.load("ABC") is rules
    monkeypatch.setattr(rules_loader, "DATABASE_TIMEOUT", 3600.0)
    assert loader.cached("ABC") is rules, "the next ballots don't wait"
    assert len(database.loads) == 1


async def test_an_unknown_poll_is_not_found(database: Database, aged: Callable[[str, float], Any]) -> None:
    loader = RulesLoader()
    with pytest.raises(PollNotFound):
        await loader.load("GONE")
    aged("GONE", 3600)  # deleted since it was cached
    with pytest.raises(PollNotFound):
        await loader.load("GONE")


async def test_loads_and_checks_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_loader, "MAX_LOADS", 3)
    monkeypatch.setattr(rules_loader, "MAX_CHECKS", 3)
    database.answers.clear()
    loader = RulesLoader()
    for work in (loader.load, lambda code: loader.check(database.load, code)):
        tasks = [asyncio.create_task(work(f"P{number}")) for number in range(5)]
        refused = tasks[3:]
        await asyncio.wait(refused)
        assert {type(task.exception()) for task in refused} == {Overloaded}
        assert not any(task.done() for task in tasks[:3])
        database.answers.set()
        assert [rules.code for rules in await asyncio.gather(*tasks[:3])] == ["P0", "P1", "P2"]
        database.answers.clear()
        poll_rules._cache.clear()
