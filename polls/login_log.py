"""Audit records of staff logins, logouts and failed logins."""

import logging
import time
from collections import deque
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from polls.audit_log import record, user_actor

logger = logging.getLogger(__name__)

#: Per process. Anybody can cause failed logins, and audit records are never deleted.
MAX_FAILURES_PER_MINUTE = 30
_failures: deque[float] = deque(maxlen=MAX_FAILURES_PER_MINUTE)


@receiver(user_logged_in)
def _on_login(user: Any, **_: Any) -> None:
    if user.is_staff:
        record(user_actor(user), "logged in")


@receiver(user_logged_out)
def _on_logout(user: Any = None, **_: Any) -> None:
    if user is not None and user.is_staff:
        record(user_actor(user), "logged out")


@receiver(user_login_failed)
def _on_failure(credentials: dict[str, Any], **_: Any) -> None:
    """Record failures for names of staff accounts only, so that no voters' names or typos are recorded."""
    users = get_user_model()
    name = str(credentials.get(users.USERNAME_FIELD) or "").replace("\0", "")
    if not users._default_manager.filter(is_staff=True, **{users.USERNAME_FIELD: name}).exists():
        return
    now = time.monotonic()
    if len(_failures) == MAX_FAILURES_PER_MINUTE and now - _failures[0] < 60:
        logger.warning("failed_login_not_recorded")
        return
    _failures.append(now)
    record(f"user {name}", "login failed")
