"""Invites: links that each let one voter vote, made in batches and stored nowhere.

A token says which batch and which serial number it is, and carries a MAC that needs the
poll's secret and the SECRET_KEY; so only the batch is a row. The voter_key comes from
batch and serial number, and the vote log's claim on it makes an invite single-use. The
token stands in the link's fragment, which no browser sends along: it is in no request
line, no access log and no Referer.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import urlsafe_b64encode
from binascii import a2b_base64
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
from polls.errors import IllegalState, PollNotFound
from polls.keys import keyed_hash, signing_secrets
from polls.models import Ballot, Identity, InviteBatch, Poll, Round
from polls.text.csv_rows import csv_lines
from polls.voters.identity import invite_key

#: The header in which the voter's page hands a token to the voter endpoint.
HEADER = "Voter-Invite"
MAX_COUNT = 1_000_000
BATCH_ENDED = gettext_lazy("Nobody can vote with these invites any more.")
_IDS = struct.Struct(">II")  # batch, serial number
_MAC = 16
_LENGTH = (_IDS.size + _MAC) * 8 // 6  # 32 characters of base64, with nothing to pad
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_LOOKUP_CHUNK = 2000
_LINES_PER_CHUNK = 500


class Invite(NamedTuple):
    """Which invite a token is. That its batch exists, and has so many, is for `find_batch` to say."""

    batch_id: int
    serial: int


def make_token(poll_id: int, poll_secret: bytes, invite: Invite) -> str:
    """The token of an invite; of another poll, batch or serial number it is another one."""
    return _token(_mac_key(poll_id, poll_secret, signing_secrets()[0]), invite)


def read_token(token: str | None, poll_id: int, poll_secret: bytes) -> Invite | None:
    """The invite of a token that we made for this poll; None for anything else."""
    if token is None or len(token) != _LENGTH or not token.isascii():
        return None
    try:
        raw = a2b_base64(token.encode().translate(_URL_SAFE), strict_mode=True)
    except ValueError:
        return None
    ids, mac = raw[: _IDS.size], raw[_IDS.size :]
    for secret in signing_secrets():
        if hmac.compare_digest(mac, _mac(_mac_key(poll_id, poll_secret, secret), ids)):
            return Invite(*_IDS.unpack(ids))
    return None


def find_batch(poll_id: int, invite: Invite) -> Any:
    """The poll's batch that holds the invite, ended or not."""
    if not 1 <= invite.serial <= MAX_COUNT:
        return None
    return batches(poll_id).filter(pk=invite.batch_id, count__gte=invite.serial).first()


def batches(poll_id: int) -> QuerySet[Any]:
    """The poll's batches, newest first, each with its poll and whether it has `ended`.

    It has when it was revoked, or when the poll's voters were erased after it was made.
    """
    erased = Exists(Round.objects.filter(poll_id=OuterRef("poll_id"), purged_at__gt=OuterRef("made_at")))
    found = InviteBatch.objects.filter(poll_id=poll_id).select_related("poll")
    return found.annotate(erased=erased, ended=Q(revoked_at__isnull=False) | Q(erased=True))


def make_batch(poll_id: int, count: int, *, label: str = "", by: str) -> InviteBatch:
    """A batch of `count` invites. IllegalState where the poll isn't by invitation."""
    with transaction.atomic():
        poll = Poll.objects.select_for_update().filter(pk=poll_id).first()
        if poll is None:
            raise PollNotFound()
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
    """Accept no invite of the batch any more; what was cast with one stands. False if it was so before."""
    with transaction.atomic():
        batch = InviteBatch.objects.select_for_update().select_related("poll").get(pk=batch_id)
        if batch.revoked_at is not None:
            return False
        batch.revoked_at, batch.revoked_by = timezone.now(), by[:150]
        batch.save(update_fields=["revoked_at", "revoked_by"])
        record(by, "invites revoked", batch.poll.code, batch=batch.pk, count=batch.count)
    return True


def record_download(batch: InviteBatch, *, by: str) -> None:
    """Who has the links can vote, so the records say who fetched them."""
    record(by, "invites downloaded", batch.poll.code, batch=batch.pk, count=batch.count)


def csv_chunks(batch: InviteBatch, site: str) -> Iterator[str]:
    """A CSV file in pieces, with serial number and link of each invite. site: scheme and host alone."""
    poll = batch.poll
    key = _mac_key(poll.pk, bytes(poll.secret), signing_secrets()[0])
    page = f"{site}{reverse('polls:vote', args=[poll.code])}"
    links = (
        (serial, f"{page}#i={_token(key, Invite(batch.pk, serial))}") for serial in range(1, batch.count + 1)
    )
    lines = csv_lines(chain([("serial", "link")], links))
    while chunk := "".join(islice(lines, _LINES_PER_CHUNK)):
        yield chunk


def file_name(batch: InviteBatch) -> str:
    return f"invites-{batch.poll.code}-{batch.pk}.csv"


def count_used(batch: InviteBatch) -> int:
    """How many of the batch's invites have a counted ballot in the poll's current round.

    It looks for each voter_key in the ledger: nothing else says who has voted, and nothing should.
    """
    poll = batch.poll
    secret = poll.voter_secret()
    found = 0
    ballots = Ballot.objects.filter(poll_id=poll.pk, round=poll.round)
    serials = range(1, batch.count + 1)
    for start in range(0, batch.count, _LOOKUP_CHUNK):
        together = serials[start : start + _LOOKUP_CHUNK]
        keys = [invite_key(secret, batch.pk, serial) for serial in together]
        found += ballots.filter(voter_key__in=keys).count()
    return found


def _token(key: bytes, invite: Invite) -> str:
    ids = _IDS.pack(*invite)
    return urlsafe_b64encode(ids + _mac(key, ids)).decode()


def _mac(key: bytes, ids: bytes) -> bytes:
    return hashlib.blake2b(ids, key=key, digest_size=_MAC).digest()


def _mac_key(poll_id: int, poll_secret: bytes, secret: str) -> bytes:
    return keyed_hash(struct.pack(">Q", poll_id) + poll_secret, secret, b"invites", 32)
