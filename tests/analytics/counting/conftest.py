import pytest


@pytest.fixture(autouse=True)
def _insert_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget conflicts of earlier tests: for a while after one, counting looks for existing ballots first."""
    monkeypatch.setattr("analytics.counting.ballot_rows._check_first_until", 0.0)
