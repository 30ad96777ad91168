"""The Celery app. Its tasks live in each app's tasks.py; here is how they travel."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

from config import logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
TRANSPORT_ALIASES["landslide-memory"] = "config.memory_transport:Transport"

app = Celery("landslide")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect(weak=False)
def use_our_logging(**_kwargs: Any) -> None:
    """Celery leaves logging alone where this signal has a receiver."""
    logging.apply(settings.LOGGING)
