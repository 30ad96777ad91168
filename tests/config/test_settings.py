"""Settings from the environment, their documentation, and the files in DATA_DIR."""

import ast
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.serving import network

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("config", "realtime", "analytics", "polls")
#: Django's own variable.
NOT_OURS = {"DJANGO_SETTINGS_MODULE"}


def variables_read(source: str) -> set[str]:
    """Return the names in env.kind("NAME", …), os.environ["NAME"], os.environ.get and os.getenv."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args:
            called, name = ast.unparse(node.func), node.args[0]
            if not re.fullmatch(r"env(\.\w+)?|os\.getenv|os\.environ\.(get|pop)", called):
                continue
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            name = node.slice
        else:
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            found.add(name.value)
    return found - NOT_OURS


def read_by_code() -> dict[str, set[str]]:
    files = [path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]
    return {str(path.relative_to(ROOT)): variables_read(path.read_text()) for path in files}


def documented() -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)


def test_documented_variables_are_those_read_by_the_code():
    read = set().union(*read_by_code().values())
    assert len(read) > 30
    assert sorted(documented()) == sorted(read)


def test_only_settings_read_the_environment():
    readers = {path for path, names in read_by_code().items() if names}
    # serve.py checks whether ALLOWED_HOSTS is set before it uses --host.
    allowed = ("config/settings/", "config/management/commands/serve.py")
    assert [path for path in readers if not path.startswith(allowed)] == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('env.str("A", default="")', {"A"}),
        ('os.environ["B"]', {"B"}),
        ('os.environ.get("C") or os.getenv("D")', {"C", "D"}),
        ('environment.str("E")', set()),
    ],
)
def test_search_finds_each_way_of_reading_a_variable(source, names):
    assert variables_read(source) == names


#: Imports what the settings import, which takes a second, and evaluates the settings in a fork each time.
READER = """
import json, os, sys
import redis.asyncio.retry
from config import env
from config.admin import theme
from config.operations import checks, logging, postgresql
from config.security import page_headers
from config.serving import network

for line in sys.stdin:
    expression, environment = json.loads(line)
    if not os.fork():
        os.environ.clear()
        os.environ.update(environment)
        from django.conf import settings
        try:
            told = str(eval(expression))
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", READER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process


@pytest.fixture
def settings(reader: subprocess.Popen[str], tmp_path: Path) -> Callable[..., str]:
    """Return a function that evaluates `expression` in a process with only these variables."""

    def ask(expression: str, **environment: str) -> str:
        fixed = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")}
        fixed["DJANGO_SETTINGS_MODULE"] = "config.settings"
        assert reader.stdin and reader.stdout
        reader.stdin.write(json.dumps([expression, fixed | environment]) + "\n")
        return str(json.loads(reader.stdout.readline()))

    return ask


FULL = {"DATABASE_URL": "postgres://u:p@db/name", "REDIS_URL": "redis://r:6379/1"}


def test_defaults_without_redis(settings):
    seen = settings(
        "settings.EMBEDDED, settings.VOTE_LOG, settings.CELERY_BROKER_URL.split(':')[0],"
        " settings.CHANNEL_LAYERS['default']['BACKEND'].split('.')[-1],"
        " settings.DATABASES['default']['OPTIONS']['transaction_mode'], settings.COUNT_BATCH",
    )
    assert seen == "(True, 'database', 'landslide-memory', 'InMemoryChannelLayer', 'IMMEDIATE', 500)"


def test_redis_url_is_the_default_of_all_stores(settings):
    seen = settings(
        "settings.EMBEDDED, settings.VOTE_LOG, settings.VOTE_LOG_REDIS_URL, settings.CELERY_BROKER_URL,"
        " settings.COUNT_BATCH, settings.CHANNEL_LAYERS['default']['CONFIG']['hosts'][0]['address']",
        **FULL,
        BROKER_URL="amqp://rabbit//",
        CHANNEL_REDIS_URL="redis://other",
    )
    assert seen == "(False, 'redis', 'redis://r:6379/1', 'amqp://rabbit//', 10000, 'redis://other')"


def test_postgresql_connections_have_timeouts(settings):
    options = settings("settings.DATABASES['default']['OPTIONS']['options']", **FULL)
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert limit in options


def test_unreadable_value_is_named(settings):
    assert "PORT='eighty' can't be read" in settings("settings.PORT", PORT="eighty")


WRONG = [
    ("TIME_ZONE", "Mars/Base", "Europe/Berlin"),
    ("TIME_ZONE", "europe/berlin", "Europe/Berlin"),
    ("TIME_ZONE", "../../etc/passwd", "Europe/Berlin"),
    ("TIME_ZONE", "/etc/localtime", "Europe/Berlin"),
    ("TIME_ZONE", "Europe", "Europe/Berlin"),
    ("TIME_ZONE", "", "Europe/Berlin"),
    ("TIME_ZONE", "UTC+2", "Europe/Berlin"),
    ("LANGUAGE_CODE", "xx", "Known: en"),
    ("LANGUAGE_CODE", "", "Known: en"),
    ("LANGUAGE_CODE", "../en", "Known: en"),
    ("HTTPS", "ture", "neither true nor false"),
    ("DEBUG", "2", "neither true nor false"),
    ("SWEEP_SECONDS", "5 seconds", "not a number"),
    ("CAST_DEADLINE_SECONDS", "nan", "not a number"),
    ("LOGIN_LOCKOUT_MINUTES", "inf", "not a number"),
    ("DATABASE_URL", "hunter2", "postgres://"),
    ("DATABASE_URL", "postgres://u:hunter2@h:port/n", "postgres://"),
    ("DATABASE_URL", "mysql://u:hunter2@h/n", "postgres://"),
    ("DATABASE_URL", "postgres://u:hunter2@h", "postgres://"),
    ("DATABASE_URL", "sqlite://:memory:", "postgres://"),
    ("DATABASE_URL", "sqlite:////dev/null/nowhere/x", "may write to"),
    ("DATA_DIR", "/dev/null/nowhere", "DATA_DIR"),
]


@pytest.mark.parametrize(("name", "value", "advice"), WRONG)
def test_invalid_values_give_a_one_line_hint(settings, name, value, advice):
    told = settings("settings.DEBUG", **{name: value})
    assert told.startswith("ImproperlyConfigured: ") and name in told and advice in told
    assert "hunter2" not in told and "\n" not in told


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("TIME_ZONE", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("LANGUAGE_CODE", "en-us", "en"),
        ("LANGUAGE_CODE", "EN_gb", "en"),
        ("HTTPS", "Yes", "True"),
        ("DEBUG", "off", "False"),
        ("SWEEP_SECONDS", "1e1", "10.0"),
    ],
)
def test_alternative_spellings_are_accepted(settings, name, value, wanted):
    assert settings(f"settings.{name}", **{name: value}) == wanted


def test_secret_may_start_with_a_dollar_sign(settings):
    assert settings("settings.ADMIN_PASSWORD", ADMIN_PASSWORD="$ecret") == "$ecret"


def test_secret_key_is_generated_once_in_a_private_file(settings, tmp_path):
    first = settings("settings.SECRET_KEY")
    kept = tmp_path / "data" / "secret_key"
    assert len(first) > 50
    assert kept.stat().st_mode & 0o777 == 0o600
    assert settings("settings.SECRET_KEY") == first
    assert [path.name for path in kept.parent.glob(".secret_key*")] == []


def test_wildcard_host_allows_the_machines_names(settings):
    assert settings("settings.ALLOWED_HOSTS") == "['localhost', '127.0.0.1', '[::1]']"
    open_to_all = settings("settings.ALLOWED_HOSTS", HOST="0.0.0.0")
    assert ".local'" in open_to_all
    by_any = settings("settings.ALLOWED_HOSTS", HOST="::")
    assert repr(network.display_host("::")) in by_any
    assert repr(network.lan_address_v6()) in by_any
    given = settings("settings.ALLOWED_HOSTS", HOST="0.0.0.0", ALLOWED_HOSTS="vote.example.org")
    assert given == "['vote.example.org']"


def test_cookies_are_secure_with_https(settings):
    expression = "settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE"
    assert settings(expression) == "(False, False)"
    assert settings(expression, HTTPS="true") == "(True, True)"


def test_forwarded_scheme_is_trusted_only_if_configured(settings):
    expression = "getattr(settings, 'SECURE_PROXY_SSL_HEADER', None)"
    assert settings(expression) == "None"
    asked = settings(expression, PROXY_SSL_HEADER="X-Forwarded-Proto")
    assert asked == "('HTTP_X_FORWARDED_PROTO', 'https')"


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.lstat().st_mode)) for path in [folder, *folder.rglob("*")]}


def test_data_folder_is_private(settings, tmp_path):
    data = tmp_path / "data"
    settings("settings.DEBUG")
    assert modes(data) == {
        "data": "0o700", "secret_key": "0o600", "audit_key": "0o600", "landslide.sqlite3": "0o600",
    }  # fmt: skip


def test_existing_files_become_private(settings, tmp_path):
    data = tmp_path / "data"
    elsewhere = tmp_path / "elsewhere.sqlite3"
    for folder in (data / "audit", data / "static"):
        folder.mkdir(parents=True)
    names = ["landslide.sqlite3", "landslide.sqlite3-wal", "landslide.sqlite3-shm", "secret_key", "audit_key"]
    names += ["admin-password", "audit/K7MDXA-round1-epoch1.zip", "landslide.log", "static/base.css"]
    outside = tmp_path / "outside"
    for path in (*(data / name for name in names), elsewhere, outside):
        path.write_text("x" * 64)
        path.chmod(0o666)
    (data / "landslide.link").symlink_to(outside)
    data.chmod(0o755)
    settings("settings.DEBUG", DATABASE_URL=f"sqlite:///{elsewhere}")
    found = modes(data)
    assert found.pop("static") == "0o755" and found.pop("base.css") == "0o666"  # public files
    assert found.pop("landslide.link")
    assert {name: mode for name, mode in found.items() if mode[-2:] != "00"} == {}
    assert (modes(elsewhere.parent)["elsewhere.sqlite3"], modes(tmp_path)["outside"]) == ("0o600", "0o666")


def test_other_files_in_the_data_folder_keep_their_mode(settings, tmp_path):
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    for path in (home / "bin" / "tool", home / "secret_key"):
        path.write_text("x" * 64)
        path.chmod(0o755)
    for folder in (home, home / "bin"):
        folder.chmod(0o755)
    told = settings(
        "[each.id for each in checks.check_settings()]",
        DATA_DIR=str(home),
    )
    assert "landslide.W004" in told
    found = modes(home)
    assert (found["home"], found["bin"], found["tool"]) == ("0o755", "0o755", "0o755")
    assert (found["secret_key"], found["landslide.sqlite3"]) == ("0o700", "0o600")


def test_shared_folder_keeps_its_mode(settings, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    told = settings(
        "[each.id for each in checks.check_settings()]",
        DATA_DIR=str(shared),
    )
    assert "landslide.W004" in told
    assert modes(shared)["shared"] == "0o1777" and modes(shared)["secret_key"] == "0o600"


def test_public_url_is_a_trusted_origin(settings):
    asked = "settings.TRUSTED_ORIGINS, settings.CSRF_TRUSTED_ORIGINS"
    public = settings(asked, PUBLIC_URL="https://vote.example.org/", TRUSTED_ORIGINS="https://a.example")
    both = ["https://a.example", "https://vote.example.org"]
    assert public == str((both, both))
    assert settings(asked) == "([], [])"
