"""The users of many sessions, read together with two queries."""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

_BACKEND = f"{ModelBackend.__module__}.{ModelBackend.__qualname__}"


def users_of_sessions(keys: Collection[str]) -> dict[str, Any]:
    """Return the active user of each of these sessions, as django.contrib.auth.get_user finds it.

    A session is left out if it is unknown, has no user, or comes from a different authentication backend. A
    session is also left out if get_user would end or renew it, because the password or SECRET_KEY has
    changed.
    """
    if not keys or _BACKEND not in settings.AUTHENTICATION_BACKENDS:
        return {}
    rows = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    contents = {row.session_key: row.get_decoded() for row in rows}
    contents = {key: data for key, data in contents.items() if data.get(BACKEND_SESSION_KEY) == _BACKEND}
    users = (
        get_user_model()
        .objects.filter(is_active=True)
        .in_bulk({data[SESSION_KEY] for data in contents.values()})
    )
    found = {}
    for key, data in contents.items():
        user = users.get(int(data[SESSION_KEY]))
        known = data.get(HASH_SESSION_KEY, "")
        if user is not None and constant_time_compare(known, user.get_session_auth_hash()):
            found[key] = user
    return found
