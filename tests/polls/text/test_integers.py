import pytest

from polls.text.integers import whole_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), (b"42", 42), ("9" * 18, 10**18 - 1)])
def test_a_number_is_parsed(text: str | bytes, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "+1", "1.0", " 1", "1_0", "٣", "²", b"\xb2", b"", "9" * 19, "0" * 5000 + "1"]
)
def test_other_text_is_no_number(text: str | bytes) -> None:
    assert whole_number(text) is None
