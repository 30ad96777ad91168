"""The database, the channel layer and the cache: connections and timeouts."""

from pathlib import Path
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as SyncRetry

from config.env import SQLITE
from config.operations.postgresql import bounded_connection_class
from config.private_files import private_database, writable
from config.settings.base import DATA_DIR, EMBEDDED, REDIS_PREFIX, REDIS_URL, env

DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=10)
DATABASE_STATEMENT_SECONDS = env.int("DATABASE_STATEMENT_SECONDS", default=30)

#: synchronous is FULL because an acknowledged ballot in the vote log must survive a power cut.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;",
}
#: The server ends the statements and transactions of a stuck client, so that it can't hold locks for ever.
POSTGRESQL_OPTIONS = {
    "pool": {
        "min_size": 1,
        "max_size": DATABASE_POOL_SIZE,
        "timeout": 5,
        "max_idle": 120,
        # By default the pool retries for five minutes, with growing pauses. After an outage of one minute, no
        # connection would then be available for another minute. After giving up, the pool reconnects on
        # demand.
        "reconnect_timeout": 4,
        # This timeout is reached only if the server or the network hangs. Otherwise statement_timeout comes
        # first.
        "connection_class": bounded_connection_class(DATABASE_STATEMENT_SECONDS + 5),
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
    config["CONN_MAX_AGE"] = 0  # persistent connections leak under ASGI; the pool keeps connections open
    if config["ENGINE"] == SQLITE:
        if not config["NAME"].startswith((":memory:", "file:")):
            with writable(Path(config["NAME"]).parent, "DATABASE_URL"):
                private_database(Path(config["NAME"]))
        # The test database is a file, since tests use it from several threads and processes.
        config["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
        config["OPTIONS"] = SQLITE_OPTIONS | config.get("OPTIONS", {})
    else:
        config["CONN_HEALTH_CHECKS"] = True  # a restarted server leaves dead connections in the pool
        config["OPTIONS"] = POSTGRESQL_OPTIONS | config.get("OPTIONS", {})
    return config


DATABASES = {"default": database()}

CHANNEL_REDIS_URL = env.str("CHANNEL_REDIS_URL", default=REDIS_URL)
CACHE_REDIS_URL = env.str("CACHE_REDIS_URL", default=REDIS_URL)

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "prefix": f"{REDIS_PREFIX}:channels:",
            "hosts": [
                {
                    "address": CHANNEL_REDIS_URL,
                    # The timeouts end the wait for a Redis that hangs. Without the retries, sending the first
                    # message after a restart of Redis would fail.
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
        # The hub's channel must live as long as the process. By default the channel would be dropped after a
        # day, or after a minute without a reader, and hold only 100 messages.
        "CONFIG": {"capacity": 10_000, "expiry": 3600, "group_expiry": 10 * 365 * 86_400},
    }
}
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_REDIS_URL,
        # Short timeouts: the cache holds only hints, so nobody should wait for a Redis that hangs.
        "OPTIONS": {
            "socket_timeout": 1,
            "socket_connect_timeout": 1,
            "retry": SyncRetry(ExponentialBackoff(cap=0.2, base=0.02), 1),
        },
    }
    if CACHE_REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}
CACHES["default"]["KEY_PREFIX"] = REDIS_PREFIX
