from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.deploy.upstream import Upstream
from tests.e2e.clients import close_all
from tests.servers import Nginx


@pytest.fixture(scope="module", autouse=True)
def _http_clients() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream.serving() as server:
        yield server


@pytest.fixture
def before() -> Iterator[Callable[..., Nginx]]:
    """before(port, {"max_conns=256": "max_conns=4"}): nginx as shipped, but for these, before that port."""
    made: list[Nginx] = []

    def start(port: int, changes: Mapping[str, str] | None = None) -> Nginx:
        made.append(Nginx(port, changes))
        made[-1].start()
        return made[-1]

    yield start
    for server in made:
        server.remove()
