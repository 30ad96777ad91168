"""Truncation never splits a grapheme cluster."""

import pytest

from polls.text.truncation import shortened

FAMILY = "👨‍👩‍👧‍👦"
WALES = "🏴󠁧󠁢󠁷󠁬󠁳󠁿"


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("Tea or coffee", 13, "Tea or coffee"),
        ("Tea or coffee", 12, "Tea or coff…"),
        ("Tea or coffee", 8, "Tea or…"),
        ("", 0, ""),
        ("ab" + FAMILY + "cd", 9, "ab…"),
        ("ab" + FAMILY + "cd", 10, "ab" + FAMILY + "…"),
        ("ab👍🏽cd", 4, "ab…"),
        ("ab🇩🇪🇫🇷", 5, "ab🇩🇪…"),
        ("ab🇩🇪🇫🇷", 4, "ab…"),
        ("ab" + WALES + "c", 6, "ab…"),
        ("ab1️⃣2", 4, "ab…"),
        ("abe\u0301d", 4, "ab…"),
        ("abक्षcd", 5, "ab…"),
        ("abᄒ\u1161\u11abcd", 5, "ab…"),
        ("a" + "\u0301" * 50, 10, "a" + "\u0301" * 8 + "…"),
    ],
)
def test_no_grapheme_cluster_is_split(text: str, most: int, expected: str) -> None:
    assert shortened(text, most) == expected
    assert len(expected) <= max(most, 0)
