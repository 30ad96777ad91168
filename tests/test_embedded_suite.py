"""The tests of Django code once more, in embedded mode: on SQLite, without Redis."""

import subprocess
import sys

import pytest

from tests.system import ROOT

# tests/conftest.py leaves out the slow ones and those that ask for PostgreSQL or Redis.
SUITE = ["tests/polls", "tests/analytics", "tests/realtime", "tests/votelog", "tests/config"]


@pytest.mark.slow
@pytest.mark.full_only
@pytest.mark.timeout(600)
def test_it_passes_the_same_tests_embedded() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--embedded", "-q", "-p", "no:cacheprovider", *SUITE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout[-2_000:])
    if done.returncode:
        pytest.fail(f"pytest --embedded:\n{done.stdout[-20_000:]}", pytrace=False)
