"""Rules of this repository that a program can check."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.system import ROOT

APPS = ("config", "realtime", "analytics", "polls")
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
LOCKED = "# --- locked:"
VENDOR = ROOT / "static" / "vendor"


def ours(pattern: str) -> Iterator[Path]:
    for place in (*APPS, "tests", "benchmarks", "templates", "static"):
        yield from (ROOT / place).rglob(pattern)


# --- shape ---


def test_imports_only_go_down() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def product(pattern: str) -> Iterator[Path]:
    """Yield the product's own files, without migrations and vendored libraries."""
    for place in (*APPS, "static"):
        files = (ROOT / place).rglob(pattern)
        yield from (each for each in files if not {"migrations", "vendor"} & set(each.parts))


def test_no_file_is_longer_than_350_lines() -> None:
    verifier = ROOT / "static" / "audit" / "verify.py"  # one file, since auditors download it
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for kind in ("*.py", "*.lua", "*.js", "*.css")
        for path in product(kind)
        if path != verifier
    }
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        return (function.end_lineno or 0) - function.lineno + 1

    functions = {
        f"{path.relative_to(ROOT)}:{node.name}": length(node)
        for path in product("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(functions) > 1000
    assert {name: lines for name, lines in functions.items() if lines > 50} == {}


#: Packages whose names and purpose Django defines need no docstring.
FOUND_BY_DJANGO = {"commands", "templatetags", "formats", "en"}


def test_each_package_has_a_docstring() -> None:
    packages = [each for each in product("__init__.py") if each.parent.name not in FOUND_BY_DJANGO]
    silent = [
        str(each.parent.relative_to(ROOT))
        for each in packages
        if not ast.get_docstring(ast.parse(each.read_text()))
    ]
    assert len(packages) > 30
    assert silent == []


def test_folders_of_tests_mirror_the_folders_of_the_code() -> None:
    folders = {
        each.parent.relative_to(ROOT / "tests")
        for app in APPS
        for each in (ROOT / "tests" / app).rglob("test_*.py")
    }
    assert [str(folder) for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_top_level_stays_small() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = {*APPS, "templates", "static", "tests", "benchmarks", "docs", "deploy"}
    files = {
        "manage.py",
        *REQUIREMENTS,
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "Procfile",
        "pyproject.toml",
    }
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in top - folders - files if not name.startswith(".")} == set()


# --- dependencies ---


def pins(name: str, *, locked: bool) -> list[Requirement]:
    """Return the pins of direct dependencies, or with `locked` those of indirect ones."""
    chosen, _, brought = (ROOT / name).read_text().partition(LOCKED)
    rows = (brought if locked else chosen).splitlines()[1:]  # the first line is a comment
    lines = (row.partition("#")[0].strip() for row in rows)
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def all_pins() -> list[Requirement]:
    return [pin for name in REQUIREMENTS for locked in (False, True) for pin in pins(name, locked=locked)]


def required_by(roots: list[Requirement]) -> set[str]:
    """Return the names of these packages and of everything that they require, by the installed metadata."""
    todo, seen = list(roots), set()
    while todo:
        need = todo.pop()
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            further = distribution(need.name).requires or []
        except PackageNotFoundError:
            continue  # only required on another version of Python
        for line in further:
            each = Requirement(line)
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in ("", *need.extras)):
                todo.append(each)
    return {name for name, _ in seen}


def test_every_pin_is_exact() -> None:
    assert [str(pin) for pin in all_pins() if not re.fullmatch(r"==[^*]+", str(pin.specifier))] == []


def test_what_is_installed_is_what_is_pinned() -> None:
    here = [pin for pin in all_pins() if pin.marker is None or pin.marker.evaluate()]
    differing = [str(pin) for pin in here if not pin.specifier.contains(version(pin.name), prereleases=True)]
    assert differing == [], "`make test` installs the pins"


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_lock_is_complete(name: str) -> None:
    files = REQUIREMENTS[: REQUIREMENTS.index(name) + 1]
    chosen = [pin for file in files for pin in pins(file, locked=False)]
    pinned = {canonicalize_name(pin.name) for pin in all_pins()}
    missing = {f"{each}=={version(each)}" for each in required_by(chosen) - pinned}
    assert missing == set(), f"add these to {name}, below its line {LOCKED!r}"


def test_the_lock_has_no_package_that_nothing_requires() -> None:
    chosen = [pin for name in REQUIREMENTS for pin in pins(name, locked=False)]
    needed = required_by(chosen)
    for name in REQUIREMENTS:
        # A pin with a marker is for another version of Python, whose requirements can't be seen from here.
        locked = {canonicalize_name(pin.name) for pin in pins(name, locked=True) if pin.marker is None}
        assert locked - needed == set(), f"nothing requires these; remove them from {name}"


def test_every_direct_dependency_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = {name.lower(): at for name, at in re.findall(r"^\| ([\w.\[\],-]+) \| ([\w.]+) \|", text, re.M)}
    for name in REQUIREMENTS:
        for pin in pins(name, locked=False):
            assert rows.get(pin.name.lower()) == str(pin.specifier)[2:], f"docs/dependencies.md: {pin}"


def test_vendored_libraries_say_what_they_are() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for folder in VENDOR.iterdir() if VENDOR.exists() else ():
        assert folder.is_dir(), f"{folder.name}: each library needs a folder with its licence"
        assert list(folder.glob("LICENSE*")), f"{folder}: no LICENSE"
        assert re.search(r"\d+\.\d+", (folder / "README.md").read_text()), f"{folder}/README.md: no version"
        assert f"static/vendor/{folder.name}" in text, f"docs/dependencies.md: nothing on {folder.name}"


# --- tests that the docs name ---

NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


def named_tests(page: Path) -> Iterator[tuple[str, str]]:
    """Yield (file, test or "") for every test that a page names.

    A test named without a file, as "::name", is in the last file that the page named before it.
    """
    file = ""
    for found in NAMED.finditer(page.read_text()):
        file = found[1] or file
        if found[1] or found[2]:
            yield file, found[2] or ""


@pytest.mark.parametrize("page", ["guarantees.md", "threats.md"])
def test_every_test_that_the_docs_name_exists(page: str) -> None:
    named = list(named_tests(ROOT / "docs" / page))
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and f"def {name}(" not in (ROOT / file).read_text())
    ]
    assert missing == []
    assert len(named) > 20


# --- links and paths in the docs ---

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "tests/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s#:]*)(?:#([^)\s]+))?\)")
PATH = re.compile(
    rf"(?:{'|'.join((*APPS, 'static', 'templates', 'tests', 'benchmarks', 'docs', 'deploy'))})/[\w./-]*"
)


def prose(page: Path) -> str:
    """Return the page without its blocks of code, whose paths aren't in this repository."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_path_in_the_docs_leads_somewhere(page: Path) -> None:
    text = prose(page)
    dead = [
        name
        for name in re.findall(r"`([^`\n]+?)(?:::\w+)*`", text)
        if PATH.fullmatch(name) and not ((ROOT / name).exists() or (page.parent / name).exists())
    ]
    for target, anchor in LINK.findall(text):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(f"{target}#{anchor}")
    assert dead == []
