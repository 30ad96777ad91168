"""Join a page's style sheets into one when static files are collected, as script_bundles.py joins scripts.

A page's style sheet is a file of `@import "…";` lines. A line may end with `print`, if its rules are for
print only.
"""

import re
from collections.abc import Callable
from posixpath import dirname, join, normpath

_IMPORT = re.compile(r'^@import "([\w./-]+\.css)"( print)?;\n', re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/\n*", re.DOTALL)


def has_imports(source: str) -> bool:
    return _IMPORT.search(source) is not None


def joined(path: str, read: Callable[[str], str]) -> str:
    """Return a style sheet with each import replaced by the imported sheet, and without comments.

    Raises ValueError for any other form of @import, and for a url(), which may be relative to its own folder.
    """

    def sheet(match: re.Match[str]) -> str:
        text = joined(normpath(join(dirname(path), match[1])), read)
        return f"@media print {{\n{text}}}\n" if match[2] else text

    text = _IMPORT.sub(sheet, _COMMENT.sub("", read(path)))
    if "@import" in text or "url(" in text:
        raise ValueError(f"{path}: this style sheet can't be joined with others.")
    return text
