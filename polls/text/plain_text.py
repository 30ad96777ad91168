"""Clean and compare the texts that people write: Unicode normalization, refused characters, look-alikes.

The rules are about what a reader sees. A label on a ballot is a trap if it shows nothing, reverses the text
around it, or looks like another label.
"""

import re
import unicodedata

from django.utils.translation import get_language_bidi, gettext_lazy
from django.utils.translation import gettext as _

#: Spaces of any width, and tabs: replaced by one plain space.
_SPACES = re.compile(r"[\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_LINE_BREAKS = re.compile(r"\r\n|[\n-\r\u0085\u2028\u2029]")
#: Controls; bidirectional embeddings, overrides and isolates; annotations; surrogates and noncharacters.
_REFUSED = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(17))
    + "]"
)
#: Default_Ignorable_Code_Point of Unicode 16: fonts show nothing for them.
_IGNORABLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(rf"[{_IGNORABLE}]")
#: After U+1F3F4, tag characters are visible: the flags of England and Scotland differ only in them.
_FLAG_OR_INVISIBLE = re.compile(rf"(\U0001f3f4[\U000e0020-\U000e007f]+)|[{_IGNORABLE}]")
#: Categories of the letters of Persian and Hindi, and of emoji. A joiner between two of them visibly joins or
#: separates them; between Latin letters it shows nothing.
_JOINED = ("Lo", "Mn", "Mc", "So", "Sk")
#: Letters of category Lo that never join: Hebrew, Thai, Lao, Hangul, Ethiopic, Kana, Han and Yi.
_STAND_ALONE = re.compile(
    r"[\u00aa\u00ba\u0590-\u05ff\u0e00-\u0eff\u1100-\u139f\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    r"\uff66-\uffdc\U00020000-\U0003ffff]"
)
#: Symbols in Unicode that are blank: the empty Braille pattern and the null notehead.
_BLANK_SIGNS = r"\u2800\U0001d159"
_BLANK = re.compile(rf"[\s\x00-\x1f\x7f-\x9f{_IGNORABLE}{_BLANK_SIGNS}]+")
_GAPS = re.compile(rf"[\s{_BLANK_SIGNS}]+")

INVISIBLE_TEXT = gettext_lazy("This text has no visible characters.")
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"


def cleaned(text: str, *, lines: bool = False) -> str:
    """Return the text as it is stored: NFC, with single spaces and stripped.

    lines: whether line breaks are allowed. Raises ValueError with a sentence for people if a character isn't
    allowed.
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()
    if lines:
        text = _LINE_BREAKS.sub("\n", text)
    for found in _REFUSED.finditer(text):
        if lines and found[0] == "\n":
            continue
        if _LINE_BREAKS.match(found[0]):
            raise ValueError(_("This has to be one line of text."))
        raise ValueError(_("The character U+%(number)04X can't be used here.") % {"number": ord(found[0])})
    return text


def on_one_line(text: str) -> str:
    """Clean a text that an earlier version stored: like `cleaned`, but line breaks become spaces.

    A form field would drop the line breaks and join the words.
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFC", _LINE_BREAKS.sub(" ", text))).strip()


def is_visible(text: str) -> bool:
    """Whether a reader sees anything in the text."""
    return _BLANK.fullmatch(text) is None and text != ""


def visual_key(text: str) -> str:
    """Return a key that is equal for texts that look the same or differ only in upper and lower case."""
    bare = _FLAG_OR_INVISIBLE.sub(_visible_part, text)
    return _GAPS.sub(" ", unicodedata.normalize("NFC", bare)).strip().lower()


def folded(text: str) -> str:
    """Return a search key: NFKC, case-folded, with ASCII digits and without invisible characters.

    Turkish has a dotted and a dotless i, each with its own capital letter. All four are equal here.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = text.replace("i\u0307", "i").replace("ı", "i")
    text = "".join(str(unicodedata.decimal(letter, letter)) for letter in _INVISIBLE.sub("", text))
    return _GAPS.sub(" ", text).strip()


def escaped(text: str) -> str:
    """Return the text for a terminal or a log: characters that `cleaned` refuses become escapes."""
    return _REFUSED.sub(lambda found: ascii(found[0])[1:-1], text)


def _visible_part(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    joiner = found[0] in "\u200c\u200d" and start > 0 and end < len(text)
    if joiner and _may_join(text[start - 1]) and _may_join(text[end]):
        return found[0]
    return found[1] or ""


def _may_join(letter: str) -> bool:
    return unicodedata.category(letter) in _JOINED and _STAND_ALONE.match(letter) is None


def isolated(text: str) -> str:
    """Wrap the text in bidirectional isolates (UAX #9), so that it can't reorder a sentence around it."""
    if text.isascii() and not get_language_bidi():
        return text
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
