"""static/js/proof/search.js against the standard library's SHA-256."""

import hashlib

import pytest

from tests.scripts.running import Run

pytestmark = pytest.mark.full_only

SEARCH = "({ search }, [task, from, until]) => search(task, from, until)"


@pytest.mark.parametrize("salt", ["", "a", "salt?expires=1800000000&", "x" * 52])
@pytest.mark.parametrize("number", [0, 9, 10, 255])
def test_the_number_that_hashes_to_the_challenge_is_found(run: Run, salt: str, number: int) -> None:
    task = {"salt": salt, "challenge": hashlib.sha256(f"{salt}{number}".encode()).hexdigest()}
    assert run("proof/search.js", SEARCH, [task, 0, 300]) == number
    assert run("proof/search.js", SEARCH, [task, number + 1, 300]) is None
