"""Run the tests of Django code again in embedded mode, on SQLite and without Redis."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system import ROOT, bare_environment

# tests/conftest.py leaves out slow tests and tests that need PostgreSQL or Redis.
SUITE = ["tests/polls", "tests/analytics", "tests/realtime", "tests/config/serving/test_embedded.py"]
#: Plugins that pytest shouldn't load. schemathesis would take a second.
UNUSED = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]


@pytest.mark.slow
@pytest.mark.full_only
@pytest.mark.timeout(1800)
def test_the_suite_passes_in_embedded_mode(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--embedded", "-q", *UNUSED, *SUITE],
        cwd=ROOT,
        env=bare_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout[-2_000:])
    if done.returncode:
        pytest.fail(f"pytest --embedded:\n{done.stdout[-20_000:]}", pytrace=False)
