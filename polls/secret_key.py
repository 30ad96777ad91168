"""Whose SECRET_KEY this database's voters are known by.

Two processes with different keys take each other's voter cookies for forgeries, so every browser would
vote twice. The database therefore keeps a fingerprint of the key in use, and a process with another one
doesn't serve.
"""

from __future__ import annotations

import hmac
import logging

from polls.errors import SecretKeyDiffers
from polls.keys import known_fingerprints, newest_fingerprint
from polls.models import Installation, Poll, State

logger = logging.getLogger(__name__)

_ROW = 1


def check_secret_key() -> None:
    """Raise SecretKeyDiffers where the database knows another key than ours.

    The first key that comes is taken. One that is among our SECRET_KEY_FALLBACKS was ours before: the new
    one takes its place.
    """
    ours = newest_fingerprint()
    if stopped := polls_with_lost_key():
        logger.error("secret_key_of_open_polls_missing", extra={"polls": stopped})
    row, _made = Installation.objects.get_or_create(pk=_ROW, defaults={"secret_key": ours})
    if hmac.compare_digest(row.secret_key, ours):
        return
    if row.secret_key not in known_fingerprints()[1:]:
        raise SecretKeyDiffers()
    logger.warning("secret_key_changed", extra={"was": row.secret_key, "now": ours})
    adopt_secret_key()


def secret_key_is_known() -> bool:
    """Whether our keys, old ones included, understand what the database's key has signed. Changes nothing."""
    known = Installation.objects.filter(pk=_ROW).values_list("secret_key", flat=True).first()
    return known is None or known in known_fingerprints()


def adopt_secret_key() -> None:
    """From now on the database's voters are known by our SECRET_KEY; drafts have none yet."""
    ours = newest_fingerprint()
    Installation.objects.update_or_create(pk=_ROW, defaults={"secret_key": ours})
    drafts = Poll.objects.filter(state=State.DRAFT).exclude(voters_by__in=["", *known_fingerprints()])
    drafts.update(voters_by=ours)


def polls_with_lost_key() -> list[str]:
    """Codes of open polls whose voters are known by a SECRET_KEY that we don't have: no ballot gets in."""
    polls = Poll.objects.filter(state=State.OPEN).exclude(voters_by__in=["", *known_fingerprints()])
    return list(polls.values_list("code", flat=True))
