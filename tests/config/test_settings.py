"""Settings from the environment, their documentation, and the files in DATA_DIR."""

import ast
import re
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


FULL = {"DATABASE_URL": "postgres://u:p@db/name", "REDIS_URL": "redis://r:6379/1"}


def test_defaults_without_redis(evaluate):
    seen = evaluate(
        "settings.EMBEDDED, settings.VOTE_LOG, settings.CELERY_BROKER_URL.split(':')[0],"
        " settings.CHANNEL_LAYERS['default']['BACKEND'].split('.')[-1],"
        " settings.DATABASES['default']['OPTIONS']['transaction_mode'], settings.COUNT_BATCH",
    )
    assert seen == "(True, 'database', 'landslide-memory', 'InMemoryChannelLayer', 'IMMEDIATE', 500)"


def test_redis_url_is_the_default_of_all_stores(evaluate):
    seen = evaluate(
        "settings.EMBEDDED, settings.VOTE_LOG, settings.VOTE_LOG_REDIS_URL, settings.CELERY_BROKER_URL,"
        " settings.COUNT_BATCH, settings.CHANNEL_LAYERS['default']['CONFIG']['hosts'][0]['address']",
        **FULL,
        BROKER_URL="amqp://rabbit//",
        CHANNEL_REDIS_URL="redis://other",
    )
    assert seen == "(False, 'redis', 'redis://r:6379/1', 'amqp://rabbit//', 10000, 'redis://other')"


def test_postgresql_connections_have_timeouts(evaluate):
    options = evaluate("settings.DATABASES['default']['OPTIONS']['options']", **FULL)
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert limit in options


def test_unreadable_value_is_named(evaluate):
    assert "PORT='eighty' can't be read" in evaluate("settings.PORT", PORT="eighty")


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
def test_invalid_values_give_a_one_line_hint(evaluate, name, value, advice):
    told = evaluate("settings.DEBUG", **{name: value})
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
def test_alternative_spellings_are_accepted(evaluate, name, value, wanted):
    assert evaluate(f"settings.{name}", **{name: value}) == wanted


def test_secret_may_start_with_a_dollar_sign(evaluate):
    assert evaluate("settings.ADMIN_PASSWORD", ADMIN_PASSWORD="$ecret") == "$ecret"


def test_wildcard_host_allows_the_machines_names(evaluate):
    assert evaluate("settings.ALLOWED_HOSTS") == "['localhost', '127.0.0.1', '[::1]']"
    open_to_all = evaluate("settings.ALLOWED_HOSTS", HOST="0.0.0.0")
    assert ".local'" in open_to_all
    by_any = evaluate("settings.ALLOWED_HOSTS", HOST="::")
    assert repr(network.display_host("::")) in by_any
    assert repr(network.lan_address_v6()) in by_any
    given = evaluate("settings.ALLOWED_HOSTS", HOST="0.0.0.0", ALLOWED_HOSTS="vote.example.org")
    assert given == "['vote.example.org']"


def test_cookies_are_secure_with_https(evaluate):
    expression = "settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE"
    assert evaluate(expression) == "(False, False)"
    assert evaluate(expression, HTTPS="true") == "(True, True)"


def test_forwarded_scheme_is_trusted_only_if_configured(evaluate):
    expression = "getattr(settings, 'SECURE_PROXY_SSL_HEADER', None)"
    assert evaluate(expression) == "None"
    asked = evaluate(expression, PROXY_SSL_HEADER="X-Forwarded-Proto")
    assert asked == "('HTTP_X_FORWARDED_PROTO', 'https')"


def test_public_url_is_a_trusted_origin(evaluate):
    asked = "settings.TRUSTED_ORIGINS, settings.CSRF_TRUSTED_ORIGINS"
    public = evaluate(asked, PUBLIC_URL="https://vote.example.org/", TRUSTED_ORIGINS="https://a.example")
    both = ["https://a.example", "https://vote.example.org"]
    assert public == str((both, both))
    assert evaluate(asked) == "([], [])"
