"""Fixtures and hooks of the whole test suite; tests/README.md says how to use them.

The pytest process runs Landslide's code in full mode, with its own PostgreSQL and Redis. They start with the
first test that needs them. With `--embedded` it runs in embedded mode: SQLite and no Redis.
"""

import contextlib
import gc
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import browser
from tests.e2e.clients import Client, close_all
from tests.servers import PATIENCE, PostgreSQL, Redis, ServerFailed
from tests.system import ROOT, Landslide

#: Tests that use one of these fixtures are left out of the embedded run.
FULL_FIXTURES = {
    "postgresql", "redis_server", "start_postgresql", "start_redis", "landslide",
}  # fmt: skip
LEFT_OUT_OF_EMBEDDED = ("full_only", "slow", "e2e", "faults")
LONGEST = "test_embedded_suite.py"  # its one test is a whole run of pytest
#: Options of the running systems that tests share, by the fixture that gives them.
SHARED = {
    "shared_full": {"mode": "full"},
    "shared_embedded": {"mode": "embedded"},
    "shared_daphne": {"mode": "embedded", "server": "daphne"},
}
#: Part of the ids of tests that share systems, since xdist schedules tests by their ids alone.
SHARING = "@shared"

#: Names of the product's short-lived threads.
SHORT_THREADS = ("heads", "over-limit", "bundles")

data_dir = pytest.StashKey[Path]()
servers_key = pytest.StashKey[tuple[PostgreSQL, Redis]]()
systems: list[Landslide] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--embedded", action="store_true", help="run on SQLite, without Redis")


# The same examples in each run and no time limit, so that no run fails by luck. HUNT_EXAMPLES: random
# examples.
hypothesis.settings.register_profile(
    "landslide",
    deadline=None,
    derandomize="HUNT_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("landslide")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings
    from django.core.signals import setting_changed

    if settings.configured:
        raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: the tests set up their own environment first")
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))
    if is_controller(config):
        return
    config.stash[data_dir] = Path(tempfile.mkdtemp(prefix="landslide-tests-"))
    clear_environment()
    os.environ["DATA_DIR"] = str(config.stash[data_dir])
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    # Most tests of pages use force_login(), without a second factor. tests/polls/test_two_factor.py tests
    # logins.
    os.environ["ADMIN_TWO_FACTOR"] = "optional"
    if not config.getoption("embedded"):
        reserve_servers(config)
    # This reads the settings, before pytest-django sets up Django. Tests need no slow password hash.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # On a busy machine a cast may take longer than the deadline of production.
    settings.CAST_DEADLINE_SECONDS = PATIENCE
    # Each test Client builds the middleware again. Scanning all static files for it would take 45 ms.
    settings.WHITENOISE_USE_FINDERS = False
    setting_changed.connect(forget_cached_settings)


def forget_cached_settings(**_: Any) -> None:
    """Clear the product's caches of values that it computes from settings: only tests change settings."""
    if keys := sys.modules.get("polls.keys"):
        keys.signing_secrets.cache_clear()
    if addresses := sys.modules.get("polls.http.client_address"):
        addresses._proxies.cache_clear()


def is_controller(config: pytest.Config) -> bool:
    """Whether this is xdist's controller, which runs no tests and needs no servers."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


def clear_environment() -> None:
    """Unset every variable that config/settings/ reads, so that a developer's environment changes no test."""
    text = "".join(path.read_text() for path in (ROOT / "config" / "settings").glob("*.py"))
    for name in re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", text):
        os.environ.pop(name, None)


def reserve_servers(config: pytest.Config) -> None:
    """Put the servers' addresses into the environment for the settings. The servers start on demand."""
    try:
        postgresql, redis = PostgreSQL(), Redis()
    except ServerFailed as failure:
        raise pytest.UsageError(str(failure)) from None
    config.stash[servers_key] = postgresql, redis
    os.environ["DATABASE_URL"] = postgresql.url("landslide")
    os.environ["REDIS_URL"] = redis.url()


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in config.stash.get(servers_key, ()):
        server.remove()
    if folder := config.stash.get(data_dir, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    embedded = config.getoption("embedded")
    return "landslide: embedded, on SQLite" if embedded else "landslide: full mode, on PostgreSQL and Redis"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    embedded = config.getoption("embedded")
    left_out = [item for item in items if belongs_elsewhere(item, embedded)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    number_twins(items)
    # Run slow files first, so that all processes end at about the same time.
    early = {item.path for item in items for name in ("slow", "early") if item.get_closest_marker(name)}
    sizes = Counter(item.path for item in items)

    def turn(item: pytest.Item) -> tuple[Any, ...]:
        if kinds := shared_kinds(item):
            return 0, [*map([*SHARED].index, kinds)]  # grouped by kind, so that each system starts once
        late = item.path not in early
        return 1, item.path.name != LONGEST, late, -sizes[item.path] if late else 0

    items.sort(key=turn)
    if hasattr(config, "workerinput"):
        for item in filter(shares_systems, items):
            name(item, re.sub(r"(?=\[)|$", SHARING, item.nodeid, count=1))


def pytest_collection_finish() -> None:
    """Exclude the objects that exist now, about a million, from garbage collection."""
    gc.collect()
    gc.freeze()


def shared_kinds(item: pytest.Item) -> list[str]:
    """Return the shared systems that a test uses, as fixtures or by parameters that name them."""
    parameters = getattr(item, "callspec", None)
    asked = [*getattr(item, "fixturenames", ()), *(parameters.params.values() if parameters else ())]
    return [kind for kind in SHARED if kind in asked]


def shares_systems(item: pytest.Item) -> bool:
    return bool(shared_kinds(item))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run all tests that share systems in one process, so that each starts once. Run the others by file."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SHARING if SHARING in nodeid else super()._split_scope(nodeid)

    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Stop the shared systems that no later test needs: even idle they take a tenth of a processor.
    shared.stop_all_but(shared_kinds(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Wait for the product's short-lived threads before the database is emptied.

    Otherwise they could change the database of the next test.
    """
    for thread in threading.enumerate():
        if thread.name in SHORT_THREADS:
            thread.join(5)


def number_twins(items: list[pytest.Item]) -> None:
    """Number tests with the same id, such as schemathesis's. Otherwise xdist would run only one of them."""
    seen: Counter[str] = Counter()
    for item in items:
        seen[item.nodeid] += 1
        if (number := seen[item.nodeid]) > 1:
            name(item, f"{item.parent.nodeid}::{item.name}[{number}]")  # type: ignore[union-attr]
    if len({item.nodeid for item in items}) < len(items):
        raise pytest.UsageError("tests share an id: under xdist only one of them would run")


def name(item: pytest.Item, nodeid: str) -> None:
    # pytest has no public way to set an id. xdist sets item._nodeid, which pytest 9.2 doesn't read.
    item._id = type(item.id).parse(nodeid)


def belongs_elsewhere(item: pytest.Item, embedded: bool) -> bool:
    if not embedded:
        return item.get_closest_marker("embedded_only") is not None
    fixtures = set(getattr(item, "fixturenames", ()))
    if item.get_closest_marker("embedded_only"):
        return False
    # A test that uses no store is the same in both modes, so the embedded run leaves it out.
    stores = item.get_closest_marker("django_db") is not None or {"db", "transactional_db"} & fixtures
    marked = any(item.get_closest_marker(name) for name in LEFT_OUT_OF_EMBEDDED)
    return not stores or marked or bool(FULL_FIXTURES & fixtures) or shares_systems(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show a failure together with the logs of the running systems."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        report.sections += [("a running Landslide", system.report()) for system in systems]


# --- servers ---


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> PostgreSQL:
    """The server that this process and most test systems share. Each has its own database on it."""
    server = pytestconfig.stash[servers_key][0]
    server.start()
    return server


@pytest.fixture(scope="session")
def _redis_server(pytestconfig: pytest.Config) -> Redis:
    server = pytestconfig.stash[servers_key][1]
    server.start()
    return server


@pytest.fixture
def redis_server(_redis_server: Redis) -> Redis:
    """The Redis of settings.REDIS_URL, emptied before each test. To kill or freeze one, use start_redis."""
    return _redis_server


@pytest.fixture
def start_redis() -> Iterator[Callable[..., Redis]]:
    """start_redis(appendonly="no", …) starts a Redis that the test may kill, freeze or misconfigure."""
    yield from factory(Redis)


@pytest.fixture
def start_postgresql() -> Iterator[Callable[..., PostgreSQL]]:
    """start_postgresql(durable=True, …) starts a PostgreSQL that the test may kill or freeze."""
    yield from factory(PostgreSQL)


def factory(kind: type) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def start(**settings: Any) -> Any:
        server = kind(**settings)
        made.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in reversed(made):
            server.remove()


# --- Django in this process ---


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """Start the servers with the first test that uses the database."""
    if not request.config.getoption("embedded"):
        request.getfixturevalue("postgresql")
        request.getfixturevalue("_redis_server")


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Don't drop the test database: its server or folder is deleted, and a pool may still be connected."""
    return True


@pytest.fixture(autouse=True)
def _fresh_stores(pytestconfig: pytest.Config) -> None:
    """Empty vote log, cache and channel layer before each test, as pytest-django does with the database."""
    _, redis = pytestconfig.stash.get(servers_key, (None, None))
    if redis and redis.running:
        with redis.client() as client:
            client.flushall()
    if votelog := sys.modules.get("polls.votelog"):
        votelog.forget_log()
    if limits := sys.modules.get("polls.votelog.rate_limits"):
        limits.forget()
    if logins := sys.modules.get("polls.login_log"):
        logins._failures.clear()
    # Polls of earlier tests may have had the same codes, and the same ids: SQLite reuses ids after a
    # rollback.
    if breaker := sys.modules.get("analytics.counting.circuit_breaker"):
        breaker._windows.clear()
    if rules := sys.modules.get("polls.voters.poll_rules"):
        rules.clear_cache()
    if redis is None:
        from django.core.cache import cache

        cache.clear()


@pytest.fixture(scope="session", autouse=True)
def _fast_cleanup() -> Iterator[None]:
    """Empty the database faster than Django's flush, which has no public way to replace it."""
    from django.test import TransactionTestCase

    from tests.database_cleaner import empty_database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: empty_database())
        yield


@pytest.fixture
def boss(db: None) -> Any:
    """A test Client that is logged in as a superuser."""
    from tests.admins import superuser

    return superuser()


# --- whole systems ---


def landslides(request: pytest.FixtureRequest) -> Iterator[Callable[..., Landslide]]:
    made: list[Landslide] = []

    def start(**options: Any) -> Landslide:
        if options.get("mode") == "full" and "postgresql" not in options:
            options["postgresql"] = request.getfixturevalue("postgresql")
        system = Landslide(collected=request.config.stash[data_dir] / "collected", **options)
        made.append(system)
        systems.append(system)
        system.start()
        return system

    try:
        yield start
    finally:
        for system in reversed(made):
            system.remove()
            systems.remove(system)


@pytest.fixture
def landslide(request: pytest.FixtureRequest) -> Iterator[Callable[..., Landslide]]:
    """landslide(mode="full", server="daphne", web=2, worker=2, …) starts a system for this test alone."""
    yield from landslides(request)


class Shared:
    """The running systems that tests share, one of each kind, since starting a system takes seconds."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Landslide, contextlib.ExitStack]] = {}

    def system(self, request: pytest.FixtureRequest, kind: str) -> Landslide:
        if kind not in self._running:
            until_stopped = contextlib.ExitStack()
            start = until_stopped.enter_context(contextlib.contextmanager(landslides)(request))
            self._running[kind] = start(**SHARED[kind]), until_stopped
        return self._running[kind][0]

    def stop_all_but(self, kinds: Collection[str] = ()) -> None:
        for kind in self._running.keys() - kinds:
            self._running.pop(kind)[1].close()


shared = Shared()


@pytest.fixture(scope="session")
def _sharing() -> Iterator[None]:
    yield
    shared.stop_all_but()


@pytest.fixture(scope="module")
def shared_full(request: pytest.FixtureRequest, _sharing: None) -> Landslide:
    """A running system in full mode that tests share. Make your own polls, and leave the system running."""
    return shared.system(request, "shared_full")


@pytest.fixture(scope="module")
def shared_embedded(request: pytest.FixtureRequest, _sharing: None) -> Landslide:
    """Like shared_full, but in embedded mode."""
    return shared.system(request, "shared_embedded")


@pytest.fixture(scope="module")
def shared_daphne(request: pytest.FixtureRequest, _sharing: None) -> Landslide:
    """Like shared_full, but in embedded mode and served by Daphne."""
    return shared.system(request, "shared_daphne")


@pytest.fixture(params=["shared_embedded", "shared_daphne"], scope="module")
def embedded_api(request: pytest.FixtureRequest) -> Iterator[Client]:
    """An API client of a shared embedded system: one on uvicorn, then one on Daphne."""
    yield Client(request.getfixturevalue(request.param))
    close_all()


# --- browsers ---


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running Chromium. Its event loop occupies the thread, so its tests can't use Django's database."""
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as program:
        yield program


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Callable[..., browser.Visitor]]:
    """visitor(tolerated=("409",), viewport=…) opens a Visitor, whose console must have no other errors."""
    made: list[browser.Visitor] = []

    def arrive(tolerated: tuple[str, ...] = (), **options: Any) -> browser.Visitor:
        made.append(browser.Visitor(chromium, tolerated, **options))
        return made[-1]

    yield arrive
    for person in made:
        person.leave()
    complaints = [text for person in made for text in person.unexpected()]
    assert not complaints, "errors in the browser's console:\n" + "\n".join(complaints)
