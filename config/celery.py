"""The Celery app. Its tasks live in each app's tasks.py; here is how they travel."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import beat_init, setup_logging
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

from config import logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
TRANSPORT_ALIASES["landslide-memory"] = "config.memory_transport:Transport"

# In a container everything is root, and our tasks are JSON: there is nothing to unpickle.
warnings.filterwarnings(
    "ignore", message="You're running the worker with superuser", category=SecurityWarning
)

app = Celery("landslide")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect(weak=False)
def use_our_logging(**_kwargs: Any) -> None:
    """Celery leaves logging alone where this signal has a receiver."""
    logging.apply(settings.LOGGING)


@beat_init.connect(weak=False)
def end_beat_at_once(**_kwargs: Any) -> None:
    """Beat has nothing to put away.

    Celery's own handler raises SystemExit wherever the process happens to be, and in a callback of the
    garbage collector that is printed and forgotten: beat would go on.
    """
    if threading.current_thread() is threading.main_thread():  # else it is a part of our embedded mode
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
