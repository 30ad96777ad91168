"""CSV rows that are safe against formula injection; every export uses them.

Anybody may write titles and names. Excel, LibreOffice and Google Sheets run a cell that begins like a formula
(CWE-1236; https://owasp.org/www-community/attacks/CSV_Injection). Such a cell therefore gets a leading
apostrophe. A program that reads the file has to remove the apostrophe.
"""

import csv
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

CONTENT_TYPE = "text/csv; charset=utf-8"

#: U+2212 doesn't normalize to a hyphen, but spreadsheets read it as one. The apostrophe is included so that
#: removing one always restores the original text.
_BEGINS_A_FORMULA = frozenset("=+-@\u2212'")
_SPLITS_A_CELL = frozenset("\t\r\n")
#: Categories of spaces and invisible characters, which some spreadsheets skip at the start of a cell.
_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


class _Line:
    """A file for csv.writer, whose method `write` returns the line."""

    def write(self, line: str) -> str:
        return line


def csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yield each row as a line that ends with CR LF. The first row may be a header."""
    writer = csv.writer(_Line(), quoting=csv.QUOTE_ALL)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])  # returns what _Line.write returns


def cell(value: Any) -> str:
    """Return the text of a cell. Numbers stay unchanged, None is empty, and no text can run as a formula."""
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
        # NFKC maps full-width, small and superscript signs to the plain ones.
        return unicodedata.normalize("NFKC", character)[0] in _BEGINS_A_FORMULA
    return False
