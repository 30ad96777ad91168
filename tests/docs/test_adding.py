"""Apply the examples of docs/adding.md to a copy of the checkout, and run their tests there."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system import ROOT, bare_environment

PAGE = ROOT / "docs" / "adding.md"
COPIED = ("analytics", "benchmarks", "config", "docs", "polls", "realtime", "static", "templates", "tests")
FAULT = "all connections closed"


@dataclass(frozen=True)
class Example:
    path: str
    text: str  # the content of a new file, or the hunks of a change
    change: bool

    def apply(self, checkout: Path) -> None:
        target = checkout / self.path
        if not self.change:
            assert not target.exists(), f"{self.path} exists already"
            target.write_text(self.text)
            return
        for hunk in self.text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            source = target.read_text()
            assert source.count(before) == 1, f"{self.path} doesn't have this text exactly once:\n{before}"
            target.write_text(source.replace(before, after))


def examples() -> list[Example]:
    found = []
    for kind, first, text in re.findall(
        r"^```(\w+)\n(.*?)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    ):
        path = re.sub(r"^(?:--- |# |// |<!-- )|(?: -->)$", "", first)
        found.append(Example(path, text, change=kind == "diff"))
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("adding")
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
        )
    for file in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / file, copy)
    for example in examples():
        example.apply(copy)
    return copy


def run(checkout: Path, home: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env=bare_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.full_only
def test_the_examples_pass_their_own_tests_and_the_settings_test(checkout: Path, tmp_path: Path) -> None:
    brought = [example.path for example in examples() if Path(example.path).name.startswith("test_")]
    assert len(brought) == 5
    brought.append("tests/polls/methods/test_seam.py")
    documented = "tests/config/test_settings.py::test_documented_variables_are_those_read_by_the_code"
    told = run(
        checkout, tmp_path, "pytest", "--embedded", "-q", "-p", "no:cacheprovider", *brought, documented
    )
    assert " passed" in told and "skipped" not in told


@pytest.mark.faults
@pytest.mark.slow
def test_the_fault_row_runs(checkout: Path, tmp_path: Path) -> None:
    told = run(checkout, tmp_path, "tests.faults", FAULT, "--no-broken")
    assert "as expected" in told
