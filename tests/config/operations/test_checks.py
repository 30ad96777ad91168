"""Each invalid setting is refused with a hint on what to set instead."""

import subprocess
import sys
from datetime import timedelta

import pytest

from config.env import POSTGRESQL, SQLITE
from config.operations import checks
from tests.system import ROOT, bare_environment

FINE = {
    "VOTE_LOG": "redis",
    "VOTE_LOG_REDIS_URL": "redis://log:6379/0",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "BROKER_URL": "amqp://rabbit//",
    "CHANNEL_REDIS_URL": "rediss://:secret@other:6380",
    "CACHE_REDIS_URL": "unix:///run/redis.sock",
    "EMBEDDED": False,
    "ENGINE": POSTGRESQL,
}
BROKEN = [
    ({"VOTE_LOG": "paper"}, "landslide.E001", "database, redis"),
    ({"VOTE_LOG_REDIS_URL": ""}, "landslide.E002", "VOTE_LOG_REDIS_URL"),
    ({"VOTE_LOG_DURABILITY": "no"}, "landslide.E003", "everysec"),
    ({"VOTE_LOG_PARTITIONS": 0}, "landslide.E004", "from 1"),
    ({"VOTE_LOG_PREFIX": "a{b}"}, "landslide.E005", "braces"),
    ({"REDIS_URL": "http://secret@host"}, "landslide.E006", "redis://"),
    ({"BROKER_URL": "redis:secret"}, "landslide.E006", "amqp://"),
    ({"CHANNEL_REDIS_URL": "redis://:secret@host:port"}, "landslide.E006", "redis://"),
    ({"TRUSTED_ORIGINS": ["vote.example.org"]}, "landslide.E007", "https://vote.example.org"),
    (
        {"PUBLIC_URL": "vote.example.org/a", "TRUSTED_ORIGINS": ["vote.example.org/a"]},
        "landslide.E007",
        "https://vote.example.org",
    ),
    ({"TRUSTED_ORIGINS": ["https://vote.example.org:99999"]}, "landslide.E007", "https://vote.example.org"),
    ({"TRUSTED_ORIGINS": ["https://a@vote.example.org"]}, "landslide.E007", "https://vote.example.org"),
    ({"TRUSTED_ORIGINS": ["https://vote.example.org/"]}, "landslide.E007", "https://vote.example.org"),
    ({"ENGINE": "django.db.backends.mysql"}, "landslide.E008", "postgres://"),
    ({"ENGINE": SQLITE}, "landslide.E009", "DATABASE_URL"),
    ({"EMBEDDED": True, "REDIS_URL": ""}, "landslide.E010", "REDIS_URL"),
    ({"CAST_QUEUE_LIMIT": 0}, "landslide.E011", "settings.md"),
    ({"SWEEP_SECONDS": -1}, "landslide.E011", "settings.md"),
    ({"BATCH_MAX_BYTES": 20_000_000}, "landslide.E012", "10485760"),
    ({"LOG_FORMAT": "xml"}, "landslide.E013", "json"),
    ({"LOG_LEVEL": "LOUD"}, "landslide.E014", "WARNING"),
    ({"PROXY_SSL_HEADER": "X-Forwarded-Proto"}, "landslide.W001", "HTTPS"),
    ({"SECURE_HSTS_SECONDS": 60}, "landslide.W002", "HTTPS"),
    ({"HTTPS": True}, "landslide.W003", "TRUSTED_PROXIES"),
    ({"AUDIT_KEY": "abc"}, "landslide.E021", "openssl"),
    ({"RETENTION_DAYS": -1}, "landslide.E022", "keep everything"),
    ({"ADMIN_TWO_FACTOR": "maybe"}, "landslide.E015", "required"),
    ({"RATE_LIMITS": ["voter=5"]}, "landslide.E016", "address=600/60"),
    ({"RATE_LIMITS": ["voter=0/60"]}, "landslide.E016", "address=600/60"),
    ({"TRUSTED_PROXIES": ["proxy.example.org"]}, "landslide.E017", "192.0.2.0/24"),
    ({"VENUE_NETWORKS": ["10.0.0.0/40"]}, "landslide.E017", "192.0.2.0/24"),
    ({"BACKLOG_LIMIT": 0}, "landslide.E011", "settings.md"),
    ({"AXES_FAILURE_LIMIT": 0}, "landslide.E011", "settings.md"),
    ({"PORT": 99_999}, "landslide.E011", "settings.md"),
    ({"PORT": -1}, "landslide.E011", "settings.md"),
    ({"CELERY_WORKER_CONCURRENCY": 0}, "landslide.E011", "settings.md"),
    ({"AXES_COOLOFF_TIME": timedelta(minutes=1e9)}, "landslide.E011", "settings.md"),
    ({"CAST_DEADLINE_SECONDS": 1e300}, "landslide.E011", "settings.md"),
    ({"PROOF_WORK": 0}, "landslide.E011", "settings.md"),
    ({"PROOF_WORK": 10**20}, "landslide.E011", "settings.md"),
    ({"RETENTION_DAYS": 10**12}, "landslide.E022", "keep everything"),
    ({"TRUSTED_ORIGINS": ["https://[::"]}, "landslide.E007", "https://vote.example.org"),
    ({"TRUSTED_ORIGINS": ["https://:80"]}, "landslide.E007", "https://vote.example.org"),
    ({"ALLOWED_HOSTS": ["https://vote.example.org"]}, "landslide.E018", "without scheme"),
    ({"ALLOWED_HOSTS": ["vote.example.org:443"]}, "landslide.E018", "without scheme"),
    ({"PROXY_SSL_HEADER": "a b", "HTTPS": True}, "landslide.E019", "X-Forwarded-Proto"),
    ({"SECURE_HSTS_SECONDS": -5}, "landslide.E020", "0"),
    ({"SECRET_KEY": " "}, "landslide.E023", "random"),
    ({"SECRET_KEY_FALLBACKS": ["x", ""]}, "landslide.E023", "random"),
    ({"REDIS_PREFIX": ""}, "landslide.E005", "braces"),
    ({"REDIS_URL": "redis://h:6379/first"}, "landslide.E006", "redis://"),
]


@pytest.fixture
def configure(settings, monkeypatch):
    def change(**values):
        for name, value in values.items():
            if name == "ENGINE":
                monkeypatch.setitem(settings.DATABASES["default"], name, value)
            else:
                setattr(settings, name, value)

    change(**FINE)
    return change


def test_valid_settings_pass(configure):
    assert checks.check_settings() == []


@pytest.mark.parametrize(("change", "code", "advice"), BROKEN)
def test_invalid_settings_are_refused_with_a_hint(configure, change, code, advice):
    configure(**change)
    messages = checks.check_settings()
    assert [message.id for message in messages] == [code]
    assert advice in messages[0].hint
    assert "secret" not in f"{messages[0].msg} {messages[0].hint}"


def test_full_mode_on_https_passes_check_deploy(tmp_path):
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=bare_environment(
            tmp_path,
            DATA_DIR=str(tmp_path / "data"),
            REDIS_URL="redis://127.0.0.1:6379/0",
            DATABASE_URL="postgres://landslide:secret@127.0.0.1:5432/landslide",
            ALLOWED_HOSTS="vote.example.org",
            HTTPS="true",
            TRUSTED_PROXIES="127.0.0.1",
            PROXY_SSL_HEADER="X-Forwarded-Proto",
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # config/settings/web.py says why three checks are silenced.
    assert "no issues (3 silenced)" in done.stdout
