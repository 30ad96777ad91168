"""Accounts that end: what a deleted or deactivated one may still do in polls for people who are signed in.

A voter's pass is good for up to an hour and needs no look at the database, so that casting goes on without
it. When an account ends, its passes have to end too: the account is noted here for as long as one may live,
and every process reads that with a poll's rules (rules.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.signals import post_delete, post_save

from polls import clock
from polls.models import EndedAccount, Identity, Poll, State
from polls.voters import poll_rules
from polls.voters.identity import PASS_SECONDS

#: Twice as long as a pass lives: the clocks of those that give them and of this process may differ.
_NOTED_FOR = timedelta(seconds=2 * PASS_SECONDS)


def connect() -> None:
    user = get_user_model()
    post_delete.connect(_deleted, sender=user, dispatch_uid="polls.voters.ended_accounts.deleted")
    post_save.connect(_saved, sender=user, dispatch_uid="polls.voters.ended_accounts.saved")


def open_login_polls() -> QuerySet[Poll]:
    """While there is one, no account may be deleted.

    Made again under the same name, it would be another voter, and have a second ballot. Whether it has had
    its first is not asked: that would tell whoever tries to delete it.
    """
    return Poll.objects.filter(identity=Identity.LOGIN, state=State.OPEN)


def _deleted(instance: Any, **_: Any) -> None:
    _end(instance.pk)


def _saved(instance: Any, update_fields: Any = None, **_: Any) -> None:
    if update_fields is not None and "is_active" not in update_fields:
        return  # a log-in, which only notes its time
    if instance.is_active:
        EndedAccount.objects.filter(user_id=instance.pk).delete()
    else:
        _end(instance.pk)


def _end(user_id: int) -> None:
    now = clock.utc_now()  # as passes end: a host whose own clock is wrong forgets none too early
    EndedAccount.objects.filter(at__lt=now - _NOTED_FOR).delete()
    EndedAccount.objects.update_or_create(user_id=user_id, defaults={"at": now})
    transaction.on_commit(poll_rules.clear_cache)  # other processes read it within a second
