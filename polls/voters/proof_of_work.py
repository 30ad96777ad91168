"""Proof of work, in ALTCHA's protocol: a second of a voter's computing for the right to cast.

A challenge hides a number up to settings.PROOF_WORK behind a hash; whoever casts has tried numbers until one
fitted. Nothing is stored: the signature is made over the poll, its round, the voter and the ballot that this
voter has in so far, so the proof is worth nothing to anybody else, nor for the voter's next ballot; and the
time when it ends is in what is hashed. See docs/decisions/proof-of-work.md.
"""

from __future__ import annotations

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

#: A challenge may be fetched when the page opens, and its proof sent when the voter has made up their mind.
VALID_SECONDS = 600
ALGORITHM = "SHA-256"
#: A proof has about 350 characters; ALTCHA's own solvers add a field or two.
MAX_LENGTH = 1000
_SALT_BYTES = 12
_BOUND = struct.Struct(">IH16s17s32s")  # poll_id, round, voter_key, the ballot that is in, challenge
#: What we make and nothing else. The "&" at the end keeps digits from moving between number and time.
_SALT = re.compile(r"[0-9a-f]{24}\?expires=([0-9]{10,12})&", re.ASCII)


class Proof(msgspec.Struct, gc=False):
    """ALTCHA's payload, version 1, as far as it proves anything: `challenge` follows from salt and number."""

    algorithm: str
    number: int
    salt: str
    signature: str


_decode = msgspec.json.Decoder(Proof).decode


class Voter(NamedTuple):
    """Who needs a proof: a voter in one round of a poll."""

    poll_id: int
    round: int
    key: bytes


def new_challenge(voter: Voter, ballot_id: bytes | None) -> dict[str, Any]:
    """A challenge for this voter, as ALTCHA's solvers take it.

    ballot_id: of the ballot that the voter has in; None where there is none.
    """
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
    """Whether this is a solved challenge of this voter that hasn't ended. Never raises.

    ballots: what the voter may have had in when it was made; None where that was no ballot.
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
    # Nobody but us checks it, so it needn't be the HMAC that ALTCHA's libraries make: this one costs a third.
    ballot = b"" if ballot_id is None else b"\1" + ballot_id
    bound = _BOUND.pack(voter.poll_id, voter.round, voter.key, ballot, digest)
    return keyed_hash(bound, secret, b"proof of work", 32).hex().encode()
