import time
from collections.abc import Callable

import pytest

from tests.votelogs import each_log, pytest_generate_tests

__all__ = ["each_log", "pytest_generate_tests"]


@pytest.fixture
def without_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow single ballots to be quarantined and released."""
    monkeypatch.setattr("analytics.results.anonymity_threshold.LEAST", 1)


@pytest.fixture(params=[-3600, 3600], ids=["an hour behind", "an hour ahead"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set this process's clock wrong. The clock of the vote log's store is right."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + request.param)


@pytest.fixture
def pauses() -> Callable[[], None]:
    """pauses() waits until the clock shows a later millisecond."""
    return lambda: time.sleep(0.003)
