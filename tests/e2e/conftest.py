from collections.abc import Iterator

import pytest

from tests.e2e import clients


@pytest.fixture(scope="module", autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    clients.close_all()
