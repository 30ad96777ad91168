"""The fixture `each_log`, for tests whose outcome must be the same with every vote log."""

from typing import Any

import pytest

from polls import votelog


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each_log" in metafunc.fixturenames:
        metafunc.parametrize("each_log", logs_of(metafunc), indirect=True)


def logs_of(metafunc: pytest.Metafunc) -> list[str]:
    """Return the vote logs that a test runs with.

    With SQLite that is the database log, with PostgreSQL the Redis log. With PostgreSQL, tests marked
    both_logs also run with the database log, since their result may depend on its locks.
    """
    if metafunc.config.getoption("embedded"):
        return ["database"]
    both = metafunc.definition.get_closest_marker("both_logs")
    return ["redis", "database"] if both else ["redis"]


@pytest.fixture
def each_log(request: pytest.FixtureRequest, settings: Any) -> str:
    """Select a vote log and return its name. The test runs once with each log of logs_of()."""
    name: str = request.param
    settings.VOTE_LOG = name
    votelog.forget_log()
    return name
