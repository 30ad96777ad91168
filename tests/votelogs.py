"""The fixture of tests that must come to the same end whatever the vote log is made of."""

from typing import Any

import pytest

from polls import votelog


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each_log" in metafunc.fixturenames:
        embedded = metafunc.config.getoption("embedded")
        metafunc.parametrize("each_log", ["database"] if embedded else ["redis", "database"], indirect=True)


@pytest.fixture
def each_log(request: pytest.FixtureRequest, settings: Any) -> str:
    """The test runs once with each vote log that this run has; its name."""
    name: str = request.param
    settings.VOTE_LOG = name
    votelog.forget_log()
    return name
