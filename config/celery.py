"""The Celery app. Tasks are in each app's tasks.py, and Celery's settings in config/settings/celery.py."""

import os
import warnings
from functools import cached_property
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

from config.operations import logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
TRANSPORT_ALIASES["landslide-memory"] = "config.serving.memory_transport:Transport"

# Celery warns against running as root because of pickle. Our tasks are JSON, and in containers root is
# common.
warnings.filterwarnings(
    "ignore", message="You're running the worker with superuser", category=SecurityWarning
)


class Landslide(Celery):
    @cached_property
    def Beat(self) -> Any:
        """Return the class that `celery beat` runs."""
        return self.subclass_with_self("config.serving.beat:Beat")


app = Landslide("landslide")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect(weak=False)
def use_our_logging(**_kwargs: Any) -> None:
    """Configure logging. Celery itself doesn't configure logging if this signal has a receiver."""
    logging.apply(settings.LOGGING)
