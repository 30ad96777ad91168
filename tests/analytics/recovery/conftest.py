from collections.abc import Iterator
from typing import Any

import pytest

from polls import votelog
from tests.analytics.recovery.stores import use

BACKENDS = ["database", pytest.param("redis", marks=pytest.mark.full_only)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    use(settings, request.param)
    yield request.param
    votelog.forget_log()
