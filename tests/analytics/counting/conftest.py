import pytest


@pytest.fixture(autouse=True)
def _insert_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget conflicts of earlier tests: after one, counting looks ballots up before it inserts them."""
    monkeypatch.setattr("analytics.counting.ballot_rows._check_first_until", 0.0)
