"""Whose SECRET_KEY this database's voters are known by.

Two processes with different keys take each other's voter cookies for forgeries, so every browser would
vote twice. The database therefore keeps a fingerprint of the key in use, and a process with another one
doesn't serve.
"""

from __future__ import annotations

import hmac
import logging

from django.utils.translation import gettext_lazy as _

from .errors import LandslideError
from .models import Installation
from .voters import derived_key, signing_secrets

logger = logging.getLogger(__name__)

_ROW = 1


class SecretKeyDiffers(LandslideError):
    code = "secret_key_differs"
    status = 503
    title = _("This database's voters are known by another SECRET_KEY")


def check_secret_key() -> None:
    """Raise SecretKeyDiffers where the database knows another key than ours.

    The first key that comes is taken. One that is among our SECRET_KEY_FALLBACKS was ours before: the new
    one takes its place.
    """
    ours = fingerprint(signing_secrets()[0])
    row, _made = Installation.objects.get_or_create(pk=_ROW, defaults={"secret_key": ours})
    if hmac.compare_digest(row.secret_key, ours):
        return
    if row.secret_key not in {fingerprint(secret) for secret in signing_secrets()[1:]}:
        raise SecretKeyDiffers()
    logger.warning("secret_key_changed", extra={"was": row.secret_key, "now": ours})
    adopt_secret_key()


def secret_key_is_known() -> bool:
    """Whether our keys, old ones included, understand what the database's key has signed. Changes nothing."""
    known = Installation.objects.filter(pk=_ROW).values_list("secret_key", flat=True).first()
    return known is None or known in {fingerprint(secret) for secret in signing_secrets()}


def adopt_secret_key() -> None:
    """From now on the database's voters are known by our SECRET_KEY."""
    ours = fingerprint(signing_secrets()[0])
    Installation.objects.update_or_create(pk=_ROW, defaults={"secret_key": ours})


def fingerprint(secret: str) -> str:
    """What tells two keys apart and leads back to neither: 32 hexadecimal digits."""
    return derived_key(secret, b"fingerprint").hex()[:32]
