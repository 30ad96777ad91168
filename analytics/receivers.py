"""Receivers of the signals of polls and of Celery."""

import logging
import sys
import threading
from typing import Any

from celery import current_app
from celery.signals import worker_init, worker_ready, worker_shutting_down

from analytics.audit import bundles
from analytics.counting import triggers
from analytics.counting.checkpoints import counted_heads
from analytics.health import anomalies, heartbeats
from polls import secret_key
from polls.errors import SecretKeyDiffers
from polls.signals import ballots_appended, over_limit, poll_changed
from polls.votelog import STORE_ERRORS, set_checkpoint_source

logger = logging.getLogger(__name__)


def connect() -> None:
    set_checkpoint_source(counted_heads)
    ballots_appended.connect(triggers.on_ballots_appended, dispatch_uid="analytics.counting.triggers")
    over_limit.connect(anomalies.on_over_limit, dispatch_uid="analytics.health.anomalies")
    poll_changed.connect(on_poll_changed, dispatch_uid="analytics.audit.bundles")
    worker_init.connect(refuse_another_secret_key, dispatch_uid="analytics.secret_key")
    worker_ready.connect(heartbeats.start, dispatch_uid="analytics.pulse")
    worker_shutting_down.connect(heartbeats.stop, dispatch_uid="analytics.pulse")


def refuse_another_secret_key(**_: Any) -> None:
    """Stop a worker whose SECRET_KEY differs from the web processes'. It would list wrong receipts."""
    try:
        secret_key.check_secret_key()
    except SecretKeyDiffers as error:
        sys.exit(f"{error.title}. Set SECRET_KEY to the one that the web processes have.")
    except STORE_ERRORS as error:
        logger.warning("secret_key_not_compared", extra={"error": str(error)})


def on_poll_changed(poll_id: int, **_: Any) -> None:
    """Request an audit bundle when a round was published, or when its published result has changed."""
    try:
        due = bundles.rounds_without_bundle().filter(poll_id=poll_id).exists()
    except Exception:
        logger.warning("bundle_not_requested", extra={"poll": poll_id}, exc_info=True)
        return
    if due:
        # A thread sends the task, so an unreachable broker delays nobody. If the task is lost, `upkeep` makes
        # the bundle.
        threading.Thread(target=_request_bundles, name="bundles", daemon=True).start()


def _request_bundles() -> None:
    try:
        current_app.send_task("analytics.tasks.make_bundles", retry=False)
    except Exception:
        logger.warning("bundle_not_requested", exc_info=True)
