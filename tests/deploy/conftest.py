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
    """before(port, {"max_conns=256": "max_conns=4"}) starts nginx in front of a port, with these changes."""
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
    """An upstream and an unchanged nginx, shared by all tests that break neither of them.

    The cache lives on between tests, so they request `fresh` addresses.
    """
    shipped[0].begin_anew()
    return shipped


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool
