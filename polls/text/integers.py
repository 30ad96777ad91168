"""Parse whole numbers that clients send in headers and queries."""


def whole_number(text: str | bytes, digits: int = 18) -> int | None:
    """Parse 1 to `digits` ASCII digits; return None for anything else.

    `int` alone would accept the digits of any script, and raise ValueError beyond 4,300 of them.
    """
    return int(text) if len(text) <= digits and text.isascii() and text.isdigit() else None
