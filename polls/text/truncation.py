"""Truncate text without splitting grapheme clusters (UAX #29).

An emoji with a skin tone, a family, a flag or a letter with its accent are several characters to Python. This
implements the rules that occur in practice, including Indic conjuncts.
"""

import unicodedata

ELLIPSIS = "…"
_JOINER = "\u200d"
_MARKS = frozenset({"Mn", "Me", "Mc"})
_VIRAMA = 9


def shortened(text: str, most: int) -> str:
    """Return `text`, truncated to `most` characters including an ellipsis if it is longer."""
    if len(text) <= most:
        return text
    end = most - len(ELLIPSIS)
    while end > 0 and not _starts_grapheme(text, end):
        end -= 1
    # A single cluster that is longer than `most` has to be split.
    return text[: end or most - len(ELLIPSIS)].rstrip() + ELLIPSIS


def _starts_grapheme(text: str, at: int) -> bool:
    """Whether a grapheme cluster starts at this index."""
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
    """Whether this is a tag character, as in the flag of Scotland, or a zero-width non-joiner."""
    return "\U000e0020" <= character <= "\U000e007f" or character == "\u200c"


def _is_later_jamo(character: str) -> bool:
    """Whether this is a vowel or final consonant of a decomposed Korean syllable."""
    return "\u1160" <= character <= "\u11ff"


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_letters_before(text: str, at: int) -> int:
    """Count the regional indicators directly before this index: two make a flag."""
    start = at
    while start > 0 and _is_flag_letter(text[start - 1]):
        start -= 1
    return at - start
