"""Receipts: proof that a ballot was accepted. A receipt says nothing about the selection.

A receipt is (poll, round, voter_key, ballot_id), encrypted and authenticated with AES-SIV (RFC 5297). Nobody
can forge a receipt, a ballot always has the same receipt, and all receipts have the same length. A receipt
contains its ballot's primary key.

Polls made by earlier versions keep receipts with a SIV built from keyed BLAKE2b (_tag and _mask).
"""

import functools
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.utils.translation import gettext_lazy

from polls.errors import ReceiptNotFound
from polls.keys import derived_key, keyed_hash, signing_secrets
from polls.models import Ballot, DeadLetter, Poll, ReceiptFormat, Round
from polls.votelog import get_log

_BODY = struct.Struct(">IH16s16s")
_TAG = 16
_LENGTH = (_TAG + _BODY.size) * 8 // 6  # 72 characters

#: The status of a receipt whose ballot is a dead letter and isn't in the ledger. If the
#: dead letter was counted, another ballot has replaced it since.
_STATUS_OF_LETTER = {
    DeadLetter.Status.WAITING: "accepted",
    DeadLetter.Status.COUNTED: "replaced",
    DeadLetter.Status.REJECTED: "rejected",
}

_PURGED = gettext_lazy(
    "The link between this round's receipts and ballots has been destroyed. The published list still has the"
    " receipt if its ballot was counted."
)


@dataclass(frozen=True, slots=True)
class ReceiptContents:
    poll_id: int
    round: int
    voter_key: bytes
    ballot_id: bytes


@functools.cache
def _cipher(secret: str) -> AESSIV:
    return AESSIV(derived_key(secret, b"receipt aes-siv"))


def _tag(body: bytes, secret: str) -> bytes:
    return keyed_hash(body, secret, b"receipt mac", _TAG)


def _mask(body: bytes, tag: bytes, secret: str) -> bytes:
    stream = keyed_hash(tag, secret, b"receipt stream", len(body))
    return (int.from_bytes(body, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(body), "big")


def make_receipt(
    poll_id: int, round: int, voter_key: bytes, ballot_id: bytes, format: int = ReceiptFormat.AES_SIV
) -> str:
    """Make a ballot's receipt. `format` is the poll's, because a ballot's receipt must never change."""
    body = _BODY.pack(poll_id, round, voter_key, ballot_id)
    secret = signing_secrets()[0]
    if format == ReceiptFormat.AES_SIV:
        return urlsafe_b64encode(_cipher(secret).encrypt(body, None)).decode()
    tag = _tag(body, secret)
    return urlsafe_b64encode(tag + _mask(body, tag, secret)).decode()


def open_receipt(receipt: str) -> ReceiptContents:
    """Decrypt a receipt; raise ReceiptNotFound if we didn't issue it."""
    if len(receipt) != _LENGTH or not receipt.isascii():
        raise ReceiptNotFound()
    try:
        raw = urlsafe_b64decode(receipt)
    except ValueError:
        raise ReceiptNotFound() from None
    tag, masked = raw[:_TAG], raw[_TAG:]
    if len(masked) != _BODY.size:
        raise ReceiptNotFound()
    for secret in signing_secrets():
        with suppress(InvalidTag):
            return ReceiptContents(*_BODY.unpack(_cipher(secret).decrypt(raw, None)))
        body = _mask(masked, tag, secret)
        if hmac.compare_digest(tag, _tag(body, secret)):
            return ReceiptContents(*_BODY.unpack(body))
    raise ReceiptNotFound()


def receipt_status(receipt: str) -> dict[str, object]:
    """Return {"status", "poll", "round"} of a receipt's ballot; raise ReceiptNotFound if there is none.

    Status: accepted | counted | quarantined | replaced | rejected. After a purge, no receipt of the round
    leads to a ballot any more.
    """
    contents = open_receipt(receipt)
    poll = Poll.objects.filter(id=contents.poll_id).only("code").first()
    if poll is None:
        raise ReceiptNotFound()
    return {"status": _status(contents), "poll": poll.code, "round": contents.round}


def _status(contents: ReceiptContents) -> str:
    where = {"poll_id": contents.poll_id, "round": contents.round, "voter_key": contents.voter_key}
    counted = Ballot.objects.filter(**where).values_list("ballot_id", "quarantine_id").first()
    if counted is not None and bytes(counted[0]) == contents.ballot_id:
        return "counted" if counted[1] is None else "quarantined"
    letter = DeadLetter.objects.filter(**where, ballot_id=contents.ballot_id).first()
    if letter is not None:
        return _STATUS_OF_LETTER[DeadLetter.Status(letter.status)]
    current = get_log().find(contents.poll_id, contents.round, contents.voter_key)
    if current == contents.ballot_id:
        return "accepted"
    if current is not None or counted is not None:
        return "replaced"
    if Round.objects.filter(
        poll_id=contents.poll_id, number=contents.round, purged_at__isnull=False
    ).exists():
        raise ReceiptNotFound(_PURGED, reason="purged")
    # The receipt is ours, but its ballot is neither counted nor in the log: the log has lost the ballot.
    raise ReceiptNotFound()
