"""Truncate text without splitting grapheme clusters (UAX #29).

An emoji with a skin tone, a family, a flag or a letter with its accent are several characters to Python.
"""

from wcwidth import grapheme_boundary_before

ELLIPSIS = "…"


def shortened(text: str, most: int) -> str:
    """Return `text`, truncated to `most` characters including an ellipsis if it is longer."""
    if len(text) <= most:
        return text
    room = most - len(ELLIPSIS)
    # A cluster that is longer than `room` has to be split.
    return text[: grapheme_boundary_before(text, room + 1) or room].rstrip() + ELLIPSIS
