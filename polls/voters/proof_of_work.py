"""Proof of work before a cast, in ALTCHA's protocol: about a second of the voter's computing time.

A challenge is the hash of a salt and a secret number up to settings.PROOF_WORK. The solver tries all numbers.
Nothing is stored. The signature covers poll, round, voter and the voter's current ballot. A proof therefore
works for one voter and one ballot. The salt contains the time when the challenge expires. See
docs/decisions/proof-of-work.md.
"""

import hmac
import re
import secrets
import struct
from binascii import a2b_base64
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

from polls import clock
from polls.keys import keyed_hash, signing_secrets

#: A challenge is valid long enough for a voter to decide, since the page fetches the challenge when it opens.
VALID_SECONDS = 600
ALGORITHM = "SHA-256"
#: A proof has about 350 characters. ALTCHA's own solvers add a field or two.
MAX_LENGTH = 1000
_SALT_BYTES = 12
_BOUND = struct.Struct(">IH16s17s32s")  # poll_id, round, voter_key, current ballot, challenge
#: The exact form of the salts that we make. The final "&" separates the expiry from the number.
_SALT = re.compile(r"[0-9a-f]{24}\?expires=([0-9]{10,12})&", re.ASCII)


class Proof(msgspec.Struct, gc=False):
    """The fields that we check in ALTCHA's payload (version 1). `challenge` follows from salt and number."""

    algorithm: str
    number: int
    salt: str
    signature: str


_decode = msgspec.json.Decoder(Proof).decode


class Voter(NamedTuple):
    """The voter, in one round of a poll, for whom a proof is made."""

    poll_id: int
    round: int
    key: bytes


def new_challenge(voter: Voter, ballot_id: bytes | None) -> dict[str, Any]:
    """Return a challenge for ALTCHA's solvers. ballot_id: the voter's current ballot, or None."""
    salt = f"{secrets.token_hex(_SALT_BYTES)}?expires={int(clock.now()) + VALID_SECONDS}&"
    digest = _digest(salt, secrets.randbelow(settings.PROOF_WORK + 1))
    return {
        "algorithm": ALGORITHM,
        "challenge": digest.hex(),
        "maxnumber": settings.PROOF_WORK,
        "salt": salt,
        "signature": _signature(signing_secrets()[0], voter, ballot_id, digest).decode(),
    }


def is_valid_proof(proof: str, voter: Voter, ballots: Iterable[bytes | None] = (None,)) -> bool:
    """Whether this is a solved challenge of this voter that hasn't expired. It never raises.

    ballots: the voter's possible current ballots when the challenge was made; None: no ballot.
    """
    if len(proof) > MAX_LENGTH:
        return False
    try:
        solved = _decode(a2b_base64(proof))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return False
    salt = _SALT.fullmatch(solved.salt)
    if salt is None or solved.algorithm != ALGORITHM or int(salt[1]) < clock.now():
        return False
    digest, given = _digest(solved.salt, solved.number), solved.signature.encode("utf-8", "replace")
    return any(
        hmac.compare_digest(given, _signature(secret, voter, ballot_id, digest))
        for secret in signing_secrets()
        for ballot_id in ballots
    )


def _digest(salt: str, number: int) -> bytes:
    return sha256(f"{salt}{number}".encode()).digest()


def _signature(secret: str, voter: Voter, ballot_id: bytes | None, digest: bytes) -> bytes:
    # Only we verify signatures, so this needn't be the HMAC of ALTCHA's libraries, which costs three times as
    # much.
    ballot = b"" if ballot_id is None else b"\1" + ballot_id
    bound = _BOUND.pack(voter.poll_id, voter.round, voter.key, ballot, digest)
    return keyed_hash(bound, secret, b"proof of work", 32).hex().encode()
