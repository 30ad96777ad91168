import pytest

from analytics.counting import ballot_rows


@pytest.fixture(autouse=True)
def _insert_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No conflict of an earlier test makes counting look for existing ballots first."""
    monkeypatch.setattr(ballot_rows, "_check_first_until", 0.0)
