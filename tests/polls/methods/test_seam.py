"""A method is known only in its own files: the rest of the product asks the poll's method."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from polls.methods import METHODS
from tests.system import ROOT

#: Code that infers a method from a poll's limits, or compares methods. The second test finds their names.
INFERENCES = {
    "*.py": r"max_selections\s*(?:[<>]|[!=]=)|[<>=]=?\s*\w*\.max_selections",
    "*.js": r"m(?:ax|in)_selections|\.method\s*[!=]=|methodOf\(\w+\)\s*[!=]==?\s*\w+\.\w+\b",
    "*.html": r"m(?:ax|in)_selections|method\s*[!=]=",
}
#: Files that name methods because they make polls, not because they count or show them.
MAKE_POLLS = {"analytics/demo.py", "polls/models/poll.py"}
OWN = ("polls/methods/", "static/js/methods/", "static/audit/verify.py", "templates/polls/methods/")
SKIPPED = ("migrations", "vendor", "__pycache__")


def product(pattern: str) -> Iterator[tuple[str, str]]:
    for top in ("polls", "analytics", "realtime", "config", "static", "templates"):
        for path in (ROOT / top).rglob(pattern):
            name = str(path.relative_to(ROOT))
            if not name.startswith(OWN) and not set(SKIPPED) & set(path.parts):
                yield name, path.read_text()


@pytest.mark.parametrize("pattern", INFERENCES)
def test_no_method_is_inferred_outside_its_files(pattern: str) -> None:
    files = dict(product(pattern))
    assert len(files) > 30
    found = {name: re.findall(INFERENCES[pattern], source) for name, source in files.items()}
    assert {name: matches for name, matches in found.items() if matches} == {}


@pytest.mark.parametrize("pattern", ["*.py", "*.js", "*.html"])
def test_no_method_is_named_outside_its_files(pattern: str) -> None:
    names = "|".join(METHODS)
    named = re.compile(rf"""["']({names})["']""")
    found = {name for name, source in product(pattern) if named.search(source)}
    assert found <= MAKE_POLLS


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_files(name: str) -> None:
    registry = (ROOT / "static" / "js" / "methods" / "registry.js").read_text()
    for path in (
        f"polls/methods/{name}.py",
        f"static/js/methods/{name}.js",
        f"templates/polls/methods/{name}.html",
        f"docs/methods/{name}.md",
    ):
        assert Path(ROOT, path).is_file(), path
    assert f'import {{ {name} }} from "./{name}.js";' in registry
    assert f'"{name}": ' in (ROOT / "static" / "audit" / "verify.py").read_text()
