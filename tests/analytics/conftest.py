import time
from collections.abc import Callable

import pytest

from tests.votelogs import each_log, pytest_generate_tests

__all__ = ["each_log", "pytest_generate_tests"]


@pytest.fixture
def of_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single ballots are set aside and released too: how many it takes is another test's subject."""
    monkeypatch.setattr("analytics.results.anonymity_threshold.LEAST", 1)


@pytest.fixture(params=[-3600, 3600], ids=["an hour behind", "an hour ahead"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's clock is off; that of the vote log's store is right."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + request.param)


@pytest.fixture
def pauses() -> Callable[[], None]:
    """pauses(): what comes next has another time, to the millisecond, than what was before."""
    return lambda: time.sleep(0.003)
