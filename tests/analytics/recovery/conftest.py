from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(params=["database", pytest.param("redis", marks=pytest.mark.full_only)])
def backend(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    # Imported here, since models can't be imported before Django is set up.
    from polls import votelog
    from tests.analytics.recovery.stores import use

    use(settings, request.param)
    yield request.param
    votelog.forget_log()
