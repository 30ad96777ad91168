"""How the tests run: see tests/README.md.

This process is a Landslide in full mode, on PostgreSQL and Redis servers of its own, which start with
the first test that needs them. `--embedded` makes it one in embedded mode, on SQLite and no Redis.
"""

import contextlib
import gc
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import browser
from tests.servers import PostgreSQL, Redis, ServerFailed
from tests.system import ROOT, Landslide

#: A test that asks for one of these has no use for a pass without PostgreSQL and Redis.
FULL_FIXTURES = {
    "postgresql", "redis_server", "start_postgresql", "start_redis", "landslide",
}  # fmt: skip
LEFT_OUT_OF_EMBEDDED = ("full_only", "slow", "e2e", "faults")
LONGEST = "test_embedded_suite.py"  # a whole pass in one test
#: The systems that tests share, one of each kind, by the fixtures that give them.
SHARED = {
    "shared_full": {"mode": "full"},
    "shared_embedded": {"mode": "embedded"},
    "shared_daphne": {"mode": "embedded", "server": "daphne"},
}
#: In the ids of tests that share systems: an id is all that xdist hands tests out by.
SHARING = "@shared"

data_dir = pytest.StashKey[Path]()
servers_key = pytest.StashKey[tuple[PostgreSQL, Redis]]()
systems: list[Landslide] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--embedded", action="store_true", help="run on SQLite, without Redis")


# The same examples each time and no limit on their time, so that no run fails by luck. HUNT_EXAMPLES: others.
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

    if settings.configured:
        raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: the tests set up their own environment first")
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))
    if hands_out_tests(config):
        return
    config.stash[data_dir] = Path(tempfile.mkdtemp(prefix="landslide-tests-"))
    forget_environment()
    os.environ["DATA_DIR"] = str(config.stash[data_dir])
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    # Most tests of pages log in by force; tests/polls/test_two_factor.py is on what lets whom in.
    os.environ["ADMIN_TWO_FACTOR"] = "optional"
    if not config.getoption("embedded"):
        name_servers(config)
    # Reads the settings; pytest-django then sets up Django. A hash that takes half a second is for passwords
    # that somebody wants to find out.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Each Client makes its own middleware, which would look up every static file: 45 ms, for nothing.
    settings.WHITENOISE_USE_FINDERS = False


def hands_out_tests(config: pytest.Config) -> bool:
    """Whether this is xdist's controller: each of its workers is a process with servers of its own."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


def forget_environment() -> None:
    """What a developer has set for a Landslide of their own is not what the tests are about."""
    text = "".join(path.read_text() for path in (ROOT / "config" / "settings").glob("*.py"))
    for name in re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", text):
        os.environ.pop(name, None)


def name_servers(config: pytest.Config) -> None:
    """The settings need to know where the servers will be; they are started when a test asks for them."""
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
    # What takes long first, so that all processes end at about the same time.
    early = {item.path for item in items for name in ("slow", "early") if item.get_closest_marker(name)}
    sizes = Counter(item.path for item in items)

    def turn(item: pytest.Item) -> tuple[Any, ...]:
        if kinds := shared_kinds(item):
            return 0, [*map([*SHARED].index, kinds)]  # one kind after the other, so that each runs once
        late = item.path not in early
        return 1, item.path.name != LONGEST, late, -sizes[item.path] if late else 0

    items.sort(key=turn)
    if hasattr(config, "workerinput"):
        for item in filter(shares_systems, items):
            name(item, re.sub(r"(?=\[)|$", SHARING, item.nodeid, count=1))


def pytest_collection_finish() -> None:
    """A million objects that stay until the end: not to be looked through again and again for garbage."""
    gc.collect()
    gc.freeze()


def shared_kinds(item: pytest.Item) -> list[str]:
    """The shared systems that it asks for: by fixture, or by a parameter that names one."""
    parameters = getattr(item, "callspec", None)
    asked = [*getattr(item, "fixturenames", ()), *(parameters.params.values() if parameters else ())]
    return [kind for kind in SHARED if kind in asked]


def shares_systems(item: pytest.Item) -> bool:
    return bool(shared_kinds(item))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One process runs all tests that share systems, so that each is started once; others go file by file."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SHARING if SHARING in nodeid else super()._split_scope(nodeid)

    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Nobody asks for the others any more, and idle they still take a tenth of a processor.
    shared.stop_all_but(shared_kinds(item))


def number_twins(items: list[pytest.Item]) -> None:
    """xdist runs one test of each id, and schemathesis gives the tests of all operations the same one."""
    seen: Counter[str] = Counter()
    for item in items:
        seen[item.nodeid] += 1
        if (number := seen[item.nodeid]) > 1:
            name(item, f"{item.parent.nodeid}::{item.name}[{number}]")  # type: ignore[union-attr]
    if len({item.nodeid for item in items}) < len(items):
        raise pytest.UsageError("tests share an id: under xdist only one of them would run")


def name(item: pytest.Item, nodeid: str) -> None:
    # There is no public way. xdist's own groups set item._nodeid, which pytest 9.2 doesn't read.
    item._id = type(item.id).parse(nodeid)


def belongs_elsewhere(item: pytest.Item, embedded: bool) -> bool:
    if not embedded:
        return item.get_closest_marker("embedded_only") is not None
    fixtures = set(getattr(item, "fixturenames", ()))
    if item.get_closest_marker("embedded_only"):
        return False
    # Where no store has a part in it, once is enough.
    stores = item.get_closest_marker("django_db") is not None or {"db", "transactional_db"} & fixtures
    marked = any(item.get_closest_marker(name) for name in LEFT_OUT_OF_EMBEDDED)
    return not stores or marked or bool(FULL_FIXTURES & fixtures) or shares_systems(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure is shown with what the servers said."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        report.sections += [("a running Landslide", system.report()) for system in systems]


# --- servers ---


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> PostgreSQL:
    """The server that this process and most systems use, each with databases of its own."""
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
    """The Redis of settings.REDIS_URL, empty at the start of each test. One to kill: start_redis."""
    return _redis_server


@pytest.fixture
def start_redis() -> Iterator[Callable[..., Redis]]:
    """start_redis(appendonly="no", …): a server of the test's own, to be killed, frozen or badly set up."""
    yield from factory(Redis)


@pytest.fixture
def start_postgresql() -> Iterator[Callable[..., PostgreSQL]]:
    """start_postgresql(durable=True, …): a server of the test's own, to be killed or frozen."""
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
    """The servers start with the first test that uses the database."""
    if not request.config.getoption("embedded"):
        request.getfixturevalue("postgresql")
        request.getfixturevalue("_redis_server")


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Nothing to drop: the server or folder goes as a whole, and a pool's thread may still hold on to it."""
    return True


@pytest.fixture(autouse=True)
def _fresh_stores(pytestconfig: pytest.Config) -> None:
    """What pytest-django does for the database: no test sees another's vote log, cache or channels."""
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
    if redis is None:
        from django.core.cache import cache

        cache.clear()


@pytest.fixture(scope="session", autouse=True)
def _quickly_emptied() -> Iterator[None]:
    from django.test import TransactionTestCase

    from tests.database_cleaner import empty_database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: empty_database())
        yield


@pytest.fixture
def boss(db: None) -> Any:
    """A Client that is logged in to the admin and may do everything."""
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
    """landslide(mode="full", server="daphne", web=2, worker=2, …): a system of the test's own."""
    yield from landslides(request)


class Shared:
    """One running system of each kind, for all tests that ask for such a one: starting it takes seconds."""

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
    """One for all tests that ask for it: they make polls of their own, and leave it running."""
    return shared.system(request, "shared_full")


@pytest.fixture(scope="module")
def shared_embedded(request: pytest.FixtureRequest, _sharing: None) -> Landslide:
    """The same, in embedded mode."""
    return shared.system(request, "shared_embedded")


@pytest.fixture(scope="module")
def shared_daphne(request: pytest.FixtureRequest, _sharing: None) -> Landslide:
    """The same, in embedded mode and served by Daphne."""
    return shared.system(request, "shared_daphne")


# --- browsers ---


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """While it runs, this thread has an event loop: no database and no async tests in the same file."""
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as program:
        yield program


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Callable[..., browser.Visitor]]:
    """visitor(tolerated=("409",), viewport=…) -> a Visitor whose console must stay clean."""
    made: list[browser.Visitor] = []

    def arrive(tolerated: tuple[str, ...] = (), **options: Any) -> browser.Visitor:
        made.append(browser.Visitor(chromium, tolerated, **options))
        return made[-1]

    yield arrive
    for person in made:
        person.leave()
    complaints = [text for person in made for text in person.unexpected()]
    assert not complaints, "in the browser's console:\n" + "\n".join(complaints)
