"""Texts cut to a length, never inside of what people see as one character.

An emoji with a skin tone, a family, a flag or a letter with its accent are several characters to Python.
These are the rules of Unicode's grapheme clusters (UAX #29) that people's texts need, with those of Indic
conjuncts.
"""

from __future__ import annotations

import unicodedata

ELLIPSIS = "…"
_JOINER = "\u200d"
_MARKS = frozenset({"Mn", "Me", "Mc"})
_VIRAMA = 9


def shortened(text: str, most: int) -> str:
    """`text`, or what fits of it in `most` characters with an ellipsis at its end."""
    if len(text) <= most:
        return text
    end = most - len(ELLIPSIS)
    while end > 0 and not _starts_grapheme(text, end):
        end -= 1
    # A single character that is longer than all there is room for has to be cut.
    return text[: end or most - len(ELLIPSIS)].rstrip() + ELLIPSIS


def _starts_grapheme(text: str, at: int) -> bool:
    """Whether a character that people see begins at this place."""
    before, here = text[at - 1], text[at]
    if here == _JOINER or before == _JOINER or unicodedata.category(here) in _MARKS:
        return False
    if _is_skin_tone(here) or _is_tag(here) or _is_later_jamo(here):
        return False
    if unicodedata.combining(before) == _VIRAMA and here.isalpha():
        return False
    return not (_is_flag_letter(here) and _flag_letters_before(text, at) % 2)


def _is_skin_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_tag(character: str) -> bool:
    """Of the flags of England, Scotland and Wales; and what keeps letters apart in some scripts (ZWNJ)."""
    return "\U000e0020" <= character <= "\U000e007f" or character == "\u200c"


def _is_later_jamo(character: str) -> bool:
    """A vowel or final consonant of a Korean syllable that is written in parts."""
    return "\u1160" <= character <= "\u11ff"


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_letters_before(text: str, at: int) -> int:
    """How many of them stand right before this place: two make a flag."""
    start = at
    while start > 0 and _is_flag_letter(text[start - 1]):
        start -= 1
    return at - start
