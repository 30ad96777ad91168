"""Celery: it carries wake-ups, and losing or doubling one is harmless."""

from __future__ import annotations

from typing import Any

from config.settings.application import TIME_ZONE
from config.settings.base import EMBEDDED, REDIS_PREFIX, REDIS_URL, env
from config.settings.casting import SWEEP_SECONDS

BROKER_URL = env.str("BROKER_URL", default=REDIS_URL)
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
