"""Style sheets are joined in order, each with its medium. Forms that can't be joined are refused."""

import pytest

from config.assets.style_bundles import has_imports, joined

SOURCES = {
    "css/pages/vote.css": '/* The page. */\n@import "../tokens.css";\n@import "../print.css" print;\n',
    "css/tokens.css": "/* Colours,\n * and more. */\n:root {\n  --ink: #000; /* dark */\n}\n",
    "css/print.css": "body {\n  color: red;\n}\n",
}


def test_imports_are_replaced_in_order() -> None:
    assert joined("css/pages/vote.css", SOURCES.__getitem__) == (
        ":root {\n  --ink: #000; }\n@media print {\nbody {\n  color: red;\n}\n}\n"
    )


def test_only_sheets_with_imports_are_joined() -> None:
    assert {path for path in SOURCES if has_imports(SOURCES[path])} == {"css/pages/vote.css"}


@pytest.mark.parametrize(
    "rule", ['@import url("a.css");', '@import "a.css" screen;', "a { background: url(b.png); }"]
)
def test_other_forms_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="tokens"):
        joined("css/pages/vote.css", (SOURCES | {"css/tokens.css": rule}).__getitem__)
