"""Whole numbers in what clients send: headers and query values."""

from __future__ import annotations


def whole_number(text: str | bytes, digits: int = 18) -> int | None:
    """What `text` says in ASCII digits, `digits` at most; None for anything else.

    Python itself raises ValueError beyond 4,300 digits, and a str takes the digits of any script.
    """
    return int(text) if len(text) <= digits and text.isascii() and text.isdigit() else None
