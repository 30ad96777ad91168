"""Revoke the passes of accounts that are deleted or deactivated.

A pass is valid for up to an hour and is checked without the database. When an account ends, its passes have
to end too. The account is therefore stored for as long as a pass may be valid, and every process reads the
list with a poll's rules (poll_rules.py).
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from polls import clock
from polls.models import EndedAccount, Identity, Poll, State
from polls.voters import poll_rules
from polls.voters.identity import PASS_SECONDS

#: Twice the lifetime of a pass, because the clocks of processes differ.
_KEPT_FOR = timedelta(seconds=2 * PASS_SECONDS)


def open_login_polls() -> QuerySet[Poll]:
    """Return the open polls for accounts. While there is such a poll, no account may be deleted.

    If an account were deleted and created again, it would be a new voter with a second ballot. Whether the
    old account has voted isn't checked, because a refusal would reveal it.
    """
    return Poll.objects.filter(identity=Identity.LOGIN, state=State.OPEN)


@receiver(post_delete, sender=settings.AUTH_USER_MODEL)
def _deleted(instance: Any, **_: Any) -> None:
    _end(instance.pk)


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _saved(instance: Any, update_fields: Any = None, **_: Any) -> None:
    if update_fields is not None and "is_active" not in update_fields:
        return  # a login saves only its time
    if instance.is_active:
        EndedAccount.objects.filter(user_id=instance.pk).delete()
    else:
        _end(instance.pk)


def _end(user_id: int) -> None:
    now = clock.utc_now()  # the clock by which passes expire, in case the host's own is wrong
    EndedAccount.objects.filter(at__lt=now - _KEPT_FOR).delete()
    EndedAccount.objects.update_or_create(user_id=user_id, defaults={"at": now})
    transaction.on_commit(poll_rules.clear_cache)  # other processes read it within a second
