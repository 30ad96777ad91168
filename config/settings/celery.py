"""Settings of Celery. Celery's tasks are only triggers. Losing or repeating a task is harmless."""

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
# Give up soon instead of blocking a web thread. The sweep finds the ballots of a lost trigger.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.1}
CELERY_TASK_DEFAULT_QUEUE = REDIS_PREFIX
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = env.int("WORKER_THREADS", default=2 if EMBEDDED else 4)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
# Remote control has its own connection to Redis. If a proxy or a failover cuts it, redis-py subscribes again
# and waits for a message, which blocks the worker's event loop.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: beat has no state to save
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE = {
    # No `expires`: it is a time by the sender's clock, so a worker whose clock is ahead would discard all
    # tasks.
    "sweep": {"task": "analytics.tasks.sweep", "schedule": SWEEP_SECONDS},
    "tick": {"task": "analytics.tasks.tick", "schedule": 1.0},
    "upkeep": {"task": "analytics.tasks.upkeep", "schedule": 20.0},
}
