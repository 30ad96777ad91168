from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deploy.addresses import Pair
from tests.deploy.upstream import Upstream
from tests.e2e.clients import close_all
from tests.servers import Nginx, started


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


@pytest.fixture(scope="module")
def shipped() -> Iterator[Pair]:
    with Upstream.serving() as upstream, started(front := Nginx(upstream.port)):
        yield upstream, front


@pytest.fixture
def pair(shipped: Pair) -> Pair:
    """A server that does as told, and nginx as shipped before it: one for all who break neither of them.

    What nginx keeps it keeps from test to test, so they ask for `fresh` addresses.
    """
    shipped[0].begin_anew()
    return shipped


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool
