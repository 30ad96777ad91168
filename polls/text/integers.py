"""Parse whole numbers that clients send in headers and queries."""


def whole_number(text: str | bytes, digits: int = 18) -> int | None:
    """Return the number that `text` is in at most `digits` ASCII digits, None for anything else.

    `int` alone would accept the digits of any script, and raise ValueError beyond 4,300 of them.
    """
    return int(text) if len(text) <= digits and text.isascii() and text.isdigit() else None
