from collections.abc import Iterator

import pytest

from tests.e2e import audience


@pytest.fixture(scope="module", autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    audience.close_all()
