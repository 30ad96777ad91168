"""Percentages on the server; tests/scripts/test_text.py runs the same cases on the pages' script."""

import pytest
from django.utils import translation

from polls.text.percentages import decimals_for, percent
from tests.share_cases import CASES

pytestmark = pytest.mark.full_only


@pytest.mark.parametrize(("votes", "ballots", "least", "shown"), CASES)
def test_a_share_does_not_mislead(votes: list[int], ballots: int, least: int, shown: list[str]) -> None:
    decimals = decimals_for(votes, ballots, least)
    assert [percent(each, ballots, decimals) for each in votes] == shown


def test_only_exact_shares_show_0_50_or_100_percent() -> None:
    for ballots in range(1, 300):
        for votes in range(ballots + 1):
            both = [votes, ballots - votes]
            shown = percent(votes, ballots, decimals_for(both, ballots))
            assert (shown == "0%") is (votes == 0)
            assert (shown == "100%") is (votes == ballots)
            assert (shown == "50%") is (2 * votes == ballots)


def test_a_share_is_localized() -> None:
    with translation.override("de"):
        assert percent(1, 8, 1) == "12,5%"
