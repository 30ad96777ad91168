import time
from collections.abc import Callable

import pytest

from tests.votelogs import each_log, pytest_generate_tests

__all__ = ["each_log", "pytest_generate_tests"]


@pytest.fixture
def of_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single ballots are set aside and released too: how many it takes is another test's subject."""
    monkeypatch.setattr("analytics.secrecy.LEAST", 1)


@pytest.fixture
def pauses() -> Callable[[], None]:
    """pauses(): what comes next has another time, to the millisecond, than what was before."""
    return lambda: time.sleep(0.003)
