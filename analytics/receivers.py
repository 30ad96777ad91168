"""What this floor hears from the one below, and from the workers it runs in."""

from __future__ import annotations

from celery.signals import worker_ready, worker_shutting_down

from polls.signals import ballots_appended
from polls.votelog import set_checkpoint_source

from . import health, wakeups
from .checkpoints import expected_heads


def connect() -> None:
    set_checkpoint_source(expected_heads)
    ballots_appended.connect(wakeups.on_ballots_appended, dispatch_uid="analytics.wakeups")
    worker_ready.connect(health.start_pulse, dispatch_uid="analytics.pulse")
    worker_shutting_down.connect(health.stop_pulse, dispatch_uid="analytics.pulse")
