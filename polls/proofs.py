"""Proof of work, in ALTCHA's protocol: a second of a voter's computing for the right to cast.

A challenge hides a number below settings.PROOF_WORK behind a hash; whoever casts has tried numbers until one
fits. Nothing is stored: its key is made of the poll and the voter, so the proof is worth nothing to anybody
else, and the time it ends is in what is hashed. See docs/decisions/proof-of-work.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import struct
import time
from binascii import a2b_base64
from typing import Any

import msgspec
from django.conf import settings

from .voters import keyed_hash, signing_secrets

#: A challenge may be fetched when the page is opened and its proof sent when the voter has made up their mind.
VALID_SECONDS = 600
ALGORITHM = "SHA-256"
#: A proof is about 330 characters long; ALTCHA's own solvers add a field or two.
LONGEST = 1000
_SALT_BYTES = 12
_VOTER = struct.Struct(">Q")
#: What we make and nothing else. The last "&" keeps a digit of the number from being passed off as the salt's.
_SALT = re.compile(r"[0-9a-f]{24}\?expires=([0-9]{10,12})&", re.ASCII)


class Proof(msgspec.Struct, gc=False):
    """ALTCHA's payload, version 1."""

    algorithm: str
    challenge: str
    number: int
    salt: str
    signature: str


_decode = msgspec.json.Decoder(Proof).decode


def challenge(poll_id: int, voter_key: bytes) -> dict[str, Any]:
    """A challenge for this voter in this poll, as ALTCHA's solvers take it."""
    salt = f"{secrets.token_hex(_SALT_BYTES)}?expires={int(time.time()) + VALID_SECONDS}&"
    hidden = _hidden(salt, secrets.randbelow(settings.PROOF_WORK + 1))
    return {
        "algorithm": ALGORITHM,
        "challenge": hidden,
        "maxnumber": settings.PROOF_WORK,
        "salt": salt,
        "signature": _signature(hidden, _key(signing_secrets()[0], poll_id, voter_key)),
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
    if salt is None or solved.algorithm != ALGORITHM or int(salt[1]) < time.time():
        return False
    # The number is proven by what it hashes to; what the payload says the challenge was doesn't matter.
    hidden = _hidden(solved.salt, solved.number)
    signed = solved.signature.encode("utf-8", "replace")
    return any(
        hmac.compare_digest(signed, _signature(hidden, _key(secret, poll_id, voter_key)).encode())
        for secret in signing_secrets()
    )


def _hidden(salt: str, number: int) -> str:
    return hashlib.sha256(f"{salt}{number}".encode()).hexdigest()


def _signature(hidden: str, key: bytes) -> str:
    return hmac.digest(key, hidden.encode(), "sha256").hex()


def _key(secret: str, poll_id: int, voter_key: bytes) -> bytes:
    """Another key for each voter: what one has computed is no proof of another's."""
    return keyed_hash(_VOTER.pack(poll_id) + voter_key, secret, b"proof of work", 32)
