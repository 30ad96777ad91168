"""Proof of work, in ALTCHA's protocol: a second of a voter's computing for the right to cast.

A challenge hides a number up to settings.PROOF_WORK behind a hash; whoever casts has tried numbers until one
fitted. Nothing is stored: the signature is made over the poll and the voter as well, so the proof is worth
nothing to anybody else, and the time it ends is in what is hashed. See docs/decisions/proof-of-work.md.
"""

from __future__ import annotations

import hmac
import re
import secrets
import struct
from binascii import a2b_base64
from hashlib import sha256
from typing import Any

import msgspec
from django.conf import settings

from . import clock
from .voters import keyed_hash, signing_secrets

#: A challenge may be fetched when the page opens, and its proof sent when the voter has made up their mind.
VALID_SECONDS = 600
ALGORITHM = "SHA-256"
#: A proof has about 350 characters; ALTCHA's own solvers add a field or two.
LONGEST = 1000
_SALT_BYTES = 12
_BOUND = struct.Struct(">I16s32s")  # poll_id, voter_key, challenge
#: What we make and nothing else. The "&" at the end keeps digits from moving between number and time.
_SALT = re.compile(r"[0-9a-f]{24}\?expires=([0-9]{10,12})&", re.ASCII)


class Proof(msgspec.Struct, gc=False):
    """ALTCHA's payload, version 1, as far as it proves anything: `challenge` follows from salt and number."""

    algorithm: str
    number: int
    salt: str
    signature: str


_decode = msgspec.json.Decoder(Proof).decode


def challenge(poll_id: int, voter_key: bytes) -> dict[str, Any]:
    """A challenge for this voter in this poll, as ALTCHA's solvers take it."""
    salt = f"{secrets.token_hex(_SALT_BYTES)}?expires={int(clock.now()) + VALID_SECONDS}&"
    hidden = _hidden(salt, secrets.randbelow(settings.PROOF_WORK + 1))
    return {
        "algorithm": ALGORITHM,
        "challenge": hidden.hex(),
        "maxnumber": settings.PROOF_WORK,
        "salt": salt,
        "signature": _signature(signing_secrets()[0], poll_id, voter_key, hidden).decode(),
    }


def holds(proof: str, poll_id: int, voter_key: bytes) -> bool:
    """Whether this is a solved challenge of this voter in this poll that hasn't ended. Never raises."""
    if len(proof) > LONGEST:
        return False
    try:
        solved = _decode(a2b_base64(proof))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return False
    salt = _SALT.fullmatch(solved.salt)
    if salt is None or solved.algorithm != ALGORITHM or int(salt[1]) < clock.now():
        return False
    hidden, given = _hidden(solved.salt, solved.number), solved.signature.encode("utf-8", "replace")
    return any(
        hmac.compare_digest(given, _signature(secret, poll_id, voter_key, hidden))
        for secret in signing_secrets()
    )


def _hidden(salt: str, number: int) -> bytes:
    return sha256(f"{salt}{number}".encode()).digest()


def _signature(secret: str, poll_id: int, voter_key: bytes, hidden: bytes) -> bytes:
    # Nobody but us checks it, so it needn't be the HMAC that ALTCHA's libraries make: this one costs a third.
    bound = _BOUND.pack(poll_id, voter_key, hidden)
    return keyed_hash(bound, secret, b"proof of work", 32).hex().encode()
