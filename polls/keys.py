"""Keys derived from SECRET_KEY, one per purpose, and the secret behind a poll's voter keys."""

import functools
import hashlib
import hmac
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable

from django.conf import settings

from .errors import SecretKeyDiffers

#: A function that returns the MAC (MAC_BYTES long) of a text under a secret.
Mac = Callable[[bytes, str], bytes]
MAC_BYTES = 16
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@functools.cache
def derived_key(secret: str, purpose: bytes) -> bytes:
    """Derive from `secret` a key for one purpose only."""
    return hmac.digest(secret.encode(), b"landslide " + purpose, "sha256")


@functools.cache
def signing_secrets() -> tuple[str, ...]:
    """Return SECRET_KEY and then SECRET_KEY_FALLBACKS: sign with the first, verify with all."""
    return (settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS))


@functools.cache
def keyed_hasher(secret: str, purpose: bytes, size: int) -> hashlib.blake2b:
    """Return a keyed BLAKE2b hasher to copy, so that the key is set up once and not for every voter."""
    return hashlib.blake2b(key=derived_key(secret, purpose), digest_size=size)


def keyed_hash(text: bytes, secret: str, purpose: bytes, size: int) -> bytes:
    hashed = keyed_hasher(secret, purpose, size).copy()
    hashed.update(text)
    return hashed.digest()


def sign(text: bytes, mac: Mac) -> str:
    """Return the text and its MAC, in base64url without padding."""
    return urlsafe_b64encode(text + mac(text, signing_secrets()[0])).rstrip(b"=").decode()


def verify(signed: str | None, size: int, mac: Mac) -> bytes | None:
    """Return a text of `size` bytes that we signed, None for anything else."""
    if signed is None or len(signed) != -(-(size + MAC_BYTES) * 8 // 6):
        return None
    try:
        raw = a2b_base64(signed.encode().translate(_URL_SAFE) + b"==")
    except ValueError:
        return None
    text, given = raw[:size], raw[size:]
    for secret in signing_secrets():
        if hmac.compare_digest(given, mac(text, secret)):
            return text
    return None


def fingerprint(secret: str) -> str:
    """Return 32 hexadecimal digits that identify a key without revealing it."""
    return derived_key(secret, b"fingerprint").hex()[:32]


def newest_fingerprint() -> str:
    return fingerprint(signing_secrets()[0])


def known_fingerprints() -> list[str]:
    return [fingerprint(secret) for secret in signing_secrets()]


def voter_secret(poll_secret: bytes, key_fingerprint: str) -> bytes:
    """Return the secret for a poll's voter_keys, made from the poll's secret and a SECRET_KEY.

    SECRET_KEY isn't stored in the database. Nobody who has only the database or a backup can therefore link
    an account, an invite or an API client's voter to a ballot. `key_fingerprint` names the SECRET_KEY to use:
    voters keep their voter_keys when the key is rotated. The fingerprint is empty for a round that an earlier
    version opened. Such a round uses the poll's secret alone. Raises SecretKeyDiffers if we don't have the
    key.
    """
    if not key_fingerprint:
        return poll_secret
    for secret in signing_secrets():
        if hmac.compare_digest(fingerprint(secret), key_fingerprint):
            return keyed_hash(poll_secret, secret, b"voters of a poll", 32)
    raise SecretKeyDiffers()
