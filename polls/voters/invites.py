"""Invites: single-use links for one voter each, made in batches and not stored.

A token contains batch and serial number, with a MAC under a key derived from the poll's secret and
SECRET_KEY. Only the batch is stored. The voter_key is derived from batch and serial number, and the vote
log's claim on it makes an invite single-use. The token is in the link's fragment. Browsers don't send that,
so it appears in no access log and no Referer.
"""

import hashlib
import math
import struct
import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from polls.audit_log import record
from polls.errors import IllegalState
from polls.keys import MAC_BYTES, Mac, keyed_hash, sign, verify
from polls.lifecycle import lock_poll
from polls.models import Ballot, Identity, InviteBatch, Round
from polls.signals import poll_changed
from polls.text.csv_rows import csv_lines
from polls.voters.identity import invite_key

#: The request header in which the voter's page sends a token to the voter endpoint.
HEADER = "Voter-Invite"
MAX_COUNT = 1_000_000
BATCH_ENDED = gettext_lazy("Nobody can vote with these invites any more.")
_IDS = struct.Struct(">II")  # batch, serial number
_LOOKUP_CHUNK = 2000
_LINES_PER_CHUNK = 500
_CACHE_SECONDS, _CACHE_BATCHES = 1.0, 1000
#: When a batch was read, and the batch, by the ids of poll and batch.
_recent: dict[tuple[int, int], tuple[float, Any]] = {}


class Invite(NamedTuple):
    """The ids in a token. `find_batch` checks that the batch exists and has this serial number."""

    batch_id: int
    serial: int


def make_token(poll_id: int, poll_secret: bytes, invite: Invite) -> str:
    """Return the token of an invite, which is valid for this poll only."""
    return sign(_IDS.pack(*invite), _mac(poll_id, poll_secret))


def read_token(token: str | None, poll_id: int, poll_secret: bytes) -> Invite | None:
    """Return the invite of a token that we made for this poll, None for anything else."""
    ids = verify(token, _IDS.size, _mac(poll_id, poll_secret))
    return Invite(*_IDS.unpack(ids)) if ids else None


def find_batch(poll_id: int, invite: Invite) -> Any:
    """Return the poll's batch that contains the invite, ended or not, or None. Cached for a second.

    Other processes therefore accept an invite for up to a second after it was revoked. The pass that they
    issue is valid for an hour.
    """
    key = poll_id, invite.batch_id
    read_at, batch = _recent.get(key, (-math.inf, None))
    if time.monotonic() - read_at >= _CACHE_SECONDS:
        if len(_recent) >= _CACHE_BATCHES:
            _recent.clear()
        batch = batches(poll_id).filter(pk=invite.batch_id).first()
        _recent[key] = time.monotonic(), batch
    return batch if batch is not None and 1 <= invite.serial <= batch.count else None


def clear_cache(**_: Any) -> None:
    _recent.clear()


poll_changed.connect(clear_cache, dispatch_uid="polls.voters.invites")


def batches(poll_id: int) -> QuerySet[Any]:
    """Return the poll's batches, newest first. Each has its `poll` loaded and a flag `ended`.

    A batch has ended when it was revoked, or when a round was purged after the batch was made.
    """
    erased = Exists(Round.objects.filter(poll_id=OuterRef("poll_id"), purged_at__gt=OuterRef("made_at")))
    found = InviteBatch.objects.filter(poll_id=poll_id).select_related("poll")
    return found.annotate(erased=erased, ended=Q(revoked_at__isnull=False) | Q(erased=True))


def make_batch(poll_id: int, count: int, *, label: str = "", by: str) -> InviteBatch:
    """Create a batch of `count` invites. Raise IllegalState if the poll takes no invites."""
    with transaction.atomic():
        poll = lock_poll(poll_id)
        if poll.identity != Identity.INVITE:
            raise IllegalState(_("Invites are for polls by invitation; this poll has other voters."))
        if poll.rounds.filter(number=poll.round, purged_at__isnull=False).exists():
            raise IllegalState(
                _("This poll's voters have been erased for good; reset it to invite new ones.")
            )
        batch = InviteBatch.objects.create(poll=poll, count=count, label=label, made_by=by[:150])
        record(by, "invites made", poll.code, batch=batch.pk, count=count, label=label)
    return batch


def revoke_batch(batch_id: int, *, by: str) -> bool:
    """Revoke the batch's invites; ballots cast with them stay. Return False if it was revoked before."""
    with transaction.atomic():
        batch = InviteBatch.objects.select_for_update().select_related("poll").get(pk=batch_id)
        if batch.revoked_at is not None:
            return False
        batch.revoked_at, batch.revoked_by = timezone.now(), by[:150]
        batch.save(update_fields=["revoked_at", "revoked_by"])
        record(by, "invites revoked", batch.poll.code, batch=batch.pk, count=batch.count)
    clear_cache()
    return True


def record_download(batch: InviteBatch, *, by: str) -> None:
    """Record in the audit log who downloaded the links, because with a link anybody can vote."""
    record(by, "invites downloaded", batch.poll.code, batch=batch.pk, count=batch.count)


def csv_chunks(batch: InviteBatch, site: str) -> Iterator[str]:
    """Yield a CSV file of serial numbers and links in chunks. site: scheme and host."""
    poll = batch.poll
    secret = bytes(poll.secret)
    link = f"{site}{reverse('polls:vote', args=[poll.code])}#i="
    serials = range(1, batch.count + 1)
    rows = ((serial, link + make_token(poll.pk, secret, Invite(batch.pk, serial))) for serial in serials)
    lines = csv_lines(chain([("serial", "link")], rows))
    while chunk := "".join(islice(lines, _LINES_PER_CHUNK)):
        yield chunk


def file_name(batch: InviteBatch) -> str:
    return f"invites-{batch.poll.code}-{batch.pk}.csv"


def count_used(batch: InviteBatch) -> int:
    """Count the batch's invites with a ballot in this round. Each voter_key is looked up in the ledger."""
    poll = batch.poll
    secret = poll.voter_secret()
    ballots = Ballot.objects.filter(poll_id=poll.pk, round=poll.round)
    serials = range(1, batch.count + 1)
    found = 0
    for start in range(0, batch.count, _LOOKUP_CHUNK):
        chunk = serials[start : start + _LOOKUP_CHUNK]
        keys = [invite_key(secret, batch.pk, serial) for serial in chunk]
        found += ballots.filter(voter_key__in=keys).count()
    return found


def _mac(poll_id: int, poll_secret: bytes) -> Mac:
    poll = struct.pack(">Q", poll_id) + poll_secret

    def mac(ids: bytes, secret: str) -> bytes:
        key = keyed_hash(poll, secret, b"invites", 32)
        return hashlib.blake2b(ids, key=key, digest_size=MAC_BYTES).digest()

    return mac
