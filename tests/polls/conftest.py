import pytest

from tests.votelogs import each_log, pytest_generate_tests

__all__ = ["each_log", "pytest_generate_tests"]


@pytest.fixture(autouse=True)
def same_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the random Retry-After its lower bound, so that answers can be compared."""
    for module in ("errors", "votelog.rate_limits"):
        monkeypatch.setattr(f"polls.{module}.randint", lambda low, high: low)
