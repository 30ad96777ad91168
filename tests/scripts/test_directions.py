"""Pages work in right-to-left languages without changes to templates, styles or scripts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import ROOT

SIDES = "left|right|top|bottom"
PHYSICAL = re.compile(
    rf"(?:(?:scroll-)?(?:margin|padding)-(?:{SIDES})|border-(?:{SIDES})\b[a-z-]*|{SIDES}"
    r"|(?:min-|max-)?(?:width|height)|float|clear)$"
)
DECLARATION = re.compile(r"(?:^|[{;])\s*([a-z-]+):\s*([^;{}]+)(?=;)", re.MULTILINE)
#: Classes of Tailwind that name a side, and styles that a script sets.
SIDED_CLASS = re.compile(r"[\" ](?:m[lr]|p[lr]|left|right|text-left|text-right)-[\w.-]+")
SIDED_STYLE = re.compile(
    r"\.style\.(?:left|right|top|bottom|(?:margin|padding|border)(?:Left|Right)|textAlign|cssText)"
)


def sources(folder: str, pattern: str) -> list[Path]:
    """Return our files. Templates that override django-unfold's aren't included: their classes name sides."""
    return [
        path for path in sorted((ROOT / folder).rglob(pattern)) if not {"vendor", "unfold"} & set(path.parts)
    ]


def physical(css: str) -> Iterator[str]:
    for name, value in DECLARATION.findall(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        parts = re.findall(r"(?:[^\s(]|\((?:[^()]|\([^()]*\))*\))+", value)
        if PHYSICAL.match(name) or (name == "text-align" and value in ("left", "right")):
            yield f"{name}: {value}"
        # In a shorthand of four values, the second is the right side and the fourth the left.
        pairs = [(0, 1), (2, 3)] if name == "border-radius" else [(1, 3)]
        sided = name in (
            "margin",
            "padding",
            "inset",
            "border-width",
            "border-color",
            "border-style",
            "border-radius",
        )
        if sided and len(parts) == 4 and any(parts[a] != parts[b] for a, b in pairs):
            yield f"{name}: {value}"


@pytest.mark.parametrize("path", sources("static", "*.css"), ids=lambda path: path.name)
def test_styles_name_no_sides(path: Path) -> None:
    assert list(physical(path.read_text())) == []


def test_templates_and_scripts_name_no_sides() -> None:
    for path in sources("templates", "*.html"):
        assert SIDED_CLASS.findall(path.read_text()) == [], path
    for path in sources("static", "*.js"):
        assert SIDED_STYLE.findall(path.read_text()) == [], path


@pytest.mark.parametrize(
    "declaration",
    [
        "left: 0",
        "min-width: 4rem",
        "margin-left: auto",
        "border-bottom: 1px solid red",
        "border-top-left-radius: 1px",
        "text-align: right",
        "padding: 0 calc(1px + (2px * 3)) 0 0",
        "border-radius: 1px 2px 1px 1px",
    ],
)
def test_sides_are_found(declaration: str) -> None:
    assert list(physical(f".a {{\n  {declaration};\n}}\n")) == [declaration]
