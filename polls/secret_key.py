"""Check at start that all processes on this database use the same SECRET_KEY.

Processes with different keys reject each other's voter cookies as forged, so every browser could vote twice.
The database therefore stores a fingerprint of the key in use, and a process with a different key doesn't
serve.
"""

import hmac
import logging

from django.db.models import QuerySet

from polls.errors import SecretKeyDiffers
from polls.keys import known_fingerprints, newest_fingerprint
from polls.models import Installation, Poll, State

logger = logging.getLogger(__name__)

_ROW = 1


def check_secret_key() -> None:
    """Raise SecretKeyDiffers if the database has the fingerprint of a key that isn't ours.

    If the database has no fingerprint, or that of a fallback, store the fingerprint of our SECRET_KEY.
    """
    ours = newest_fingerprint()
    if stopped := polls_with_lost_key():
        logger.error("secret_key_of_open_polls_missing", extra={"polls": stopped})
    row, _made = Installation.objects.get_or_create(pk=_ROW, defaults={"secret_key_fingerprint": ours})
    if hmac.compare_digest(row.secret_key_fingerprint, ours):
        return
    if row.secret_key_fingerprint not in known_fingerprints()[1:]:
        raise SecretKeyDiffers()
    logger.warning("secret_key_changed", extra={"was": row.secret_key_fingerprint, "now": ours})
    adopt_secret_key()


def secret_key_is_known() -> bool:
    """Whether the stored fingerprint is that of our SECRET_KEY or of a fallback, or isn't set. Read-only."""
    known = Installation.objects.filter(pk=_ROW).values_list("secret_key_fingerprint", flat=True).first()
    return known is None or known in known_fingerprints()


def adopt_secret_key() -> None:
    """Store our SECRET_KEY's fingerprint, for the database and for all drafts (they have no voters yet)."""
    ours = newest_fingerprint()
    Installation.objects.update_or_create(pk=_ROW, defaults={"secret_key_fingerprint": ours})
    _with_unknown_key(State.DRAFT).update(secret_key_fingerprint=ours)


def polls_with_lost_key() -> list[str]:
    """Return the codes of open polls that refuse all ballots because their SECRET_KEY is missing."""
    return list(_with_unknown_key(State.OPEN).values_list("code", flat=True))


def _with_unknown_key(state: State) -> QuerySet[Poll]:
    known = ["", *known_fingerprints()]  # "": opened by an earlier version, with the poll's secret alone
    return Poll.objects.filter(state=state).exclude(secret_key_fingerprint__in=known)
