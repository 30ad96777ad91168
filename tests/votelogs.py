"""The fixture of tests that must come to the same end whatever the vote log is made of."""

from typing import Any

import pytest

from polls import votelog


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each_log" in metafunc.fixturenames:
        metafunc.parametrize("each_log", logs_of(metafunc), indirect=True)


def logs_of(metafunc: pytest.Metafunc) -> list[str]:
    """The pass on SQLite has the database's log; on PostgreSQL it is tried where its locks matter."""
    if metafunc.config.getoption("embedded"):
        return ["database"]
    both = metafunc.definition.get_closest_marker("both_logs")
    return ["redis", "database"] if both else ["redis"]


@pytest.fixture
def each_log(request: pytest.FixtureRequest, settings: Any) -> str:
    """The test runs once with each vote log that this run has; its name."""
    name: str = request.param
    settings.VOTE_LOG = name
    votelog.forget_log()
    return name
