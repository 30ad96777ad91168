"""Settings, all from the environment, with defaults that work. docs/settings.md lists every variable."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy as _
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as SyncRetry

from config.admin.theme import UNFOLD as UNFOLD
from config.env import Env, private_database, private_file, private_folder, usable
from config.operations import logging
from config.operations.postgresql import bounded
from config.security import page_headers
from config.serving import network

env = Env()
BASE_DIR = Path(__file__).resolve().parents[2]
#: What audit bundles name as their maker. Nothing is released yet.
VERSION = "0.1.0.dev0"
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).expanduser().resolve()
private_folder(DATA_DIR, public="static")

# --- Where and how it is served ---------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or network.allowed_hosts(HOST)
HTTPS = env.bool("HTTPS", default=False)
PROXY_SSL_HEADER = env.str("PROXY_SSL_HEADER", default="")
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
#: Where people reach us, if requests can't tell: behind a proxy that puts a Host of its own in their place.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
TRUSTED_ORIGINS = env.list("TRUSTED_ORIGINS", default=[]) + ([PUBLIC_URL] if PUBLIC_URL else [])
SECRET_KEY = env.secret("SECRET_KEY") or private_file(
    DATA_DIR / "secret_key", lambda: secrets.token_urlsafe(64)
)
#: Keys from before, so that what they signed stays good after a change of SECRET_KEY.
SECRET_KEY_FALLBACKS = [key for key in env.secret("SECRET_KEY_FALLBACKS").split(",") if key]
ADMIN_PASSWORD = env.secret("ADMIN_PASSWORD")
#: The secret half of the key that audit bundles are signed with: 32 octets in hexadecimal.
AUDIT_KEY = env.secret("AUDIT_KEY") or private_file(DATA_DIR / "audit_key", lambda: secrets.token_hex(32))

CSRF_TRUSTED_ORIGINS = TRUSTED_ORIGINS
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
# A year where there is https: what browsers' lists and scanners ask for. Less while https is being tried out.
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=365 * 86_400 if HTTPS else 0)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PROXY_SSL_HEADER:
    # Only where asked for: without a proxy that sets it, anyone could send this header.
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{PROXY_SSL_HEADER.upper().replace('-', '_')}", "https")
if not HTTPS:
    # Browsers ignore this header on plain http and complain about it on every page.
    SECURE_CROSS_ORIGIN_OPENER_POLICY = None
CONTENT_SECURITY_POLICY = {"DIRECTIVES": page_headers.PUBLIC}
# Of `check --deploy`. The first two would speak for other names than ours, the third is for whoever ends TLS:
# deploy/nginx.conf has the redirect, and a health check over plain http must not get one.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", "security.W008"]

# --- What it is made of -----------------------------------------------------------------------

INSTALLED_APPS = [
    "config",  # first, so that its runserver wins
    "csp",
    "unfold.apps.BasicAppConfig",  # config.apps.Admin names the site
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "config.apps.Admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "config.apps.StaticFiles",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "channels",
    "rest_framework",
    "rest_framework_api_key",  # polls.ApiClient builds on its abstract model
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "polls",
    "analytics",
    "realtime",
]
# All of it runs on one thread a request: see config/serving/django_handler.py.
MIDDLEWARE = [
    "config.security.cookie_free_responses.PublicAnswers",
    "django.middleware.security.SecurityMiddleware",
    "config.security.page_headers.PageHeaders",
    "config.assets.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LOGIN_URL = "admin:login"
# Of the admin's log-in, for who comes to it by a bookmark; the voters' leads elsewhere by itself.
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

LANGUAGES = [("en", _("English"))]
LANGUAGE_CODE = env.language("LANGUAGE_CODE", [code for code, _name in LANGUAGES], default="en")
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.time_zone("TIME_ZONE", default="UTC")
USE_I18N = USE_TZ = True
FORMAT_MODULE_PATH = ["config.formats"]

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.assets.static_files.HashedStaticFiles"},
    # Audit bundles: handed out by their own address, to whom the result is shown.
    "audit": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "audit", "base_url": None, "file_permissions_mode": 0o600},
    },
}
# Until collectstatic has run (tests, a first look), files are served from where they lie.
WHITENOISE_USE_FINDERS = DEBUG or not (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_ALLOW_ALL_ORIGINS = False

# --- Redis, for whatever has no address of its own; without it one process does everything ----

REDIS_URL = env.str("REDIS_URL", default="")
REDIS_PREFIX = env.str("REDIS_PREFIX", default="landslide")
BROKER_URL = env.str("BROKER_URL", default=REDIS_URL)
CHANNEL_REDIS_URL = env.str("CHANNEL_REDIS_URL", default=REDIS_URL)
CACHE_REDIS_URL = env.str("CACHE_REDIS_URL", default=REDIS_URL)
EMBEDDED = not REDIS_URL

# --- Database ---------------------------------------------------------------------------------

DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=10)
DATABASE_STATEMENT_SECONDS = env.int("DATABASE_STATEMENT_SECONDS", default=30)

#: The database log appends with FULL, so that an acknowledged ballot survives a power cut.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;",
}
#: A stuck or stopped client must not hold a lock for ever: its transaction is ended, and it finds out.
POSTGRESQL_OPTIONS = {
    "pool": {
        "min_size": 1,
        "max_size": DATABASE_POOL_SIZE,
        "timeout": 5,
        "max_idle": 120,
        # As shipped it tries again at ever longer intervals, for five minutes: after an outage of one minute
        # nobody would get a connection for another. Once it has given up, who asks next makes it try at once.
        "reconnect_timeout": 4,
        # The server ends a statement by itself before that, unless it or the network hangs.
        "connection_class": bounded(DATABASE_STATEMENT_SECONDS + 5),
    },
    "connect_timeout": 5,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "application_name": "landslide",
    "options": (
        f"-c statement_timeout={DATABASE_STATEMENT_SECONDS}s -c lock_timeout=10s"
        " -c idle_in_transaction_session_timeout=20s"
    ),
}


def database() -> dict[str, Any]:
    config = env.database("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'landslide.sqlite3'}")
    config["CONN_MAX_AGE"] = 0  # anything else leaks connections under ASGI, and the pool keeps them anyway
    if config["ENGINE"] == "django.db.backends.sqlite3":
        if not config["NAME"].startswith((":memory:", "file:")):
            with usable(Path(config["NAME"]).parent, "DATABASE_URL"):
                private_database(Path(config["NAME"]))
        # Tests look at the database from several threads and processes, which one in memory doesn't allow.
        config["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
        config["OPTIONS"] = SQLITE_OPTIONS | config.get("OPTIONS", {})
    elif config["ENGINE"] == "django.db.backends.postgresql":
        config["CONN_HEALTH_CHECKS"] = True  # a pooled connection may have died with a restarted server
        config["OPTIONS"] = POSTGRESQL_OPTIONS | config.get("OPTIONS", {})
    return config


DATABASES = {"default": database()}

# --- Vote log, casting and counting -----------------------------------------------------------

VOTE_LOG_REDIS_URL = env.str("VOTE_LOG_REDIS_URL", default=REDIS_URL)
VOTE_LOG = env.str("VOTE_LOG", default="redis" if VOTE_LOG_REDIS_URL else "database")
VOTE_LOG_BACKENDS = {
    "database": "polls.votelog.database.DatabaseVoteLog",
    "redis": "polls.votelog.redis.log.RedisVoteLog",
}
VOTE_LOG_PARTITIONS = env.int("VOTE_LOG_PARTITIONS", default=2)
VOTE_LOG_DURABILITY = env.str("VOTE_LOG_DURABILITY", default="always")
VOTE_LOG_PREFIX = env.str("VOTE_LOG_PREFIX", default="landslide")

#: Uncounted ballots in the log from which on no more are let in: its memory has an end.
BACKLOG_LIMIT = env.int("BACKLOG_LIMIT", default=5_000_000)
RATE_LIMITS = env.list("RATE_LIMITS", default=["voter=300/60", "address=600/60", "network=6000/60"])
#: Where many voters share an address. A server's own networks: a hall, or a proxy that nobody has named.
VENUE_NETWORKS = env.list(
    "VENUE_NETWORKS",
    default=["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7", "fe80::/10"],
)

CAST_MAX_BYTES = env.int("CAST_MAX_BYTES", default=16 * 1024)
BATCH_MAX_BYTES = env.int("BATCH_MAX_BYTES", default=8 * 1024 * 1024)
BATCH_MAX_BALLOTS = env.int("BATCH_MAX_BALLOTS", default=10_000)
CAST_QUEUE_LIMIT = env.int("CAST_QUEUE_LIMIT", default=20_000)
CAST_DEADLINE_SECONDS = env.float("CAST_DEADLINE_SECONDS", default=10)
# Hashes that a proof of work takes at most, half of that on average: up to a second of a phone.
PROOF_WORK = env.int("PROOF_WORK", default=400_000)
# SQLite has one writer: a batch must give the lock back before a cast notices.
COUNT_BATCH = env.int("COUNT_BATCH", default=500 if "sqlite" in DATABASES["default"]["ENGINE"] else 10_000)
SWEEP_SECONDS = env.float("SWEEP_SECONDS", default=2)
RETENTION_DAYS = env.int("RETENTION_DAYS", default=0)

# --- Channel layer and cache ------------------------------------------------------------------

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "prefix": f"{REDIS_PREFIX}:channels:",
            "hosts": [
                {
                    "address": CHANNEL_REDIS_URL,
                    # A frozen Redis would block for ever without the first two; without the
                    # others the first message after a restart is lost with an exception.
                    "socket_timeout": 2,
                    "socket_connect_timeout": 2,
                    "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
                    "retry_on_error": [RedisConnectionError, RedisTimeoutError],
                    "health_check_interval": 15,
                }
            ],
        },
    }
    if not EMBEDDED
    else {
        "BACKEND": "channels.layers.InMemoryChannelLayer",
        # A hub's one channel lives as long as the process; the defaults forget it after a day, or a
        # minute without a reader, and drop what is over a hundred messages.
        "CONFIG": {"capacity": 10_000, "expiry": 3600, "group_expiry": 10 * 365 * 86_400},
    }
}
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_REDIS_URL,
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},  # a frozen one would block for ever
    }
    if CACHE_REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}
CACHES["default"]["KEY_PREFIX"] = REDIS_PREFIX
if CACHE_REDIS_URL:
    # It holds hints only: better to go without one than to wait for a Redis that hangs.
    CACHES["default"]["OPTIONS"] = {
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
        "retry": SyncRetry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    }

# --- Celery: it carries wake-ups, and losing or doubling one is harmless ----------------------

CELERY_BROKER_URL = "landslide-memory://localhost" if EMBEDDED else BROKER_URL
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "global_keyprefix": f"{REDIS_PREFIX}:celery:",
        "visibility_timeout": 60,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "retry_on_timeout": True,
    }
    if CELERY_BROKER_URL.startswith("redis")
    else {}
)
CELERY_BROKER_CONNECTION_TIMEOUT = 3
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# The sweep finds what a lost wake-up left: better to give up soon than to hold a web thread.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.1}
CELERY_TASK_DEFAULT_QUEUE = REDIS_PREFIX
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = env.int("WORKER_THREADS", default=2 if EMBEDDED else 4)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
# It would keep a subscription besides the queue; where that alone is cut (a proxy, a failover), redis-py
# subscribes again by itself and then waits for a message, and with it the worker's whole event loop.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: there is nothing worth keeping in a file
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE = {
    # None of them expires: that is a time by the sender's clock, and to a worker whose own is some seconds
    # ahead every one would come too late.
    "sweep": {"task": "analytics.tasks.sweep", "schedule": SWEEP_SECONDS},
    "tick": {"task": "analytics.tasks.tick", "schedule": 1.0},
    "upkeep": {"task": "analytics.tasks.upkeep", "schedule": 20.0},
}

# --- Who gets into the admin ---------------------------------------------------------------------

ADMIN_TWO_FACTOR = env.str("ADMIN_TWO_FACTOR", default="optional" if EMBEDDED else "required")
OTP_TOTP_ISSUER = "Landslide"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "config.security.lockout.Attempts"
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURES", default=5)
AXES_COOLOFF_TIME = timedelta(minutes=env.float("LOGIN_LOCKOUT_MINUTES", default=15))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "config.security.lockout.name_of"
AXES_CLIENT_IP_CALLABLE = "config.security.lockout.network_hash"
AXES_LOCKOUT_CALLABLE = "config.security.lockout.locked_out"
AXES_RESET_ON_SUCCESS = True
# Who goes on trying doesn't make it longer: a colleague behind the same address would never get in.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True  # polls.login_log records them
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken", "code", "next"]

# --- API, admin, logs -------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "polls.api.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Landslide",
    "DESCRIPTION": "Live polling: run polls, cast ballots, follow the tally.",
    "VERSION": "1",
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/", "description": "The server that this document comes from"}],
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "PollState": "polls.models.State",
        "Visibility": "polls.models.Visibility",
        "Method": "polls.methods.method_choices",
        "BallotState": "polls.api.serializers.BALLOT_STATES",
        "ProblemCode": "polls.api.reference.codes",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Without the second, Swagger asks a validator on the web about every server that isn't on localhost.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
}

LOG_FORMAT = env.str("LOG_FORMAT", default="console")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = logging.config(LOG_FORMAT, LOG_LEVEL)
LOGGING_CONFIG = "config.operations.logging.apply"
