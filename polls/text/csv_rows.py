"""CSV files that a spreadsheet shows as they are, and never takes for formulas: every export is written here.

A title or a name may be anybody's, and Excel, LibreOffice and Google Sheets run a cell that begins like a
formula (CWE-1236; https://owasp.org/www-community/attacks/CSV_Injection). A reader that isn't a spreadsheet
takes off one leading apostrophe.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

CONTENT_TYPE = "text/csv; charset=utf-8"

#: The minus sign isn't the hyphen by any normal form, but spreadsheets read it as one. The apostrophe is here
#: so that taking one off gives back what was put in.
_BEGINS_A_FORMULA = frozenset("=+-@\u2212'")
_SPLITS_A_CELL = frozenset("\t\r\n")
#: Spaces, and what can't be seen at all: some spreadsheets skip them before they look.
_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


class _Line:
    """A file for csv.writer that hands each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Each row as a line that ends with CR LF, made when it is asked for; a header is just the first row."""
    writer = csv.writer(_Line(), quoting=csv.QUOTE_ALL)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])  # what _Line.write returned


def cell(value: Any) -> str:
    """Numbers keep their sign, nothing is an empty cell, all else is text that can't be a formula."""
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, int | float | Decimal):
        return text
    return f"'{text}" if _looks_like_a_formula(text) else text


def _looks_like_a_formula(text: str) -> bool:
    if text[:1] in _SPLITS_A_CELL:
        return True
    for character in text:
        if unicodedata.category(character) in _UNSEEN:
            continue
        # Full-width, small and raised signs are plain ones by compatibility.
        return unicodedata.normalize("NFKC", character)[0] in _BEGINS_A_FORMULA
    return False
