"""Keys derived from SECRET_KEY, one per purpose, and the secret behind a poll's voter keys."""

import functools
import hashlib
import hmac
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from .errors import SecretKeyDiffers


@functools.cache
def derived_key(secret: str, purpose: bytes) -> bytes:
    """Derive a key from `secret` that is used for one purpose only."""
    return hmac.digest(secret.encode(), b"landslide " + purpose, "sha256")


@functools.cache
def signing_secrets() -> tuple[str, ...]:
    """Return SECRET_KEY and then SECRET_KEY_FALLBACKS: sign with the first, verify with all."""
    return (settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS))


@receiver(setting_changed)  # only tests send it
def _forget_secrets(**_: Any) -> None:
    signing_secrets.cache_clear()


@functools.cache
def keyed_hasher(secret: str, purpose: bytes, size: int) -> hashlib.blake2b:
    """Return a keyed BLAKE2b hasher to copy, so that the key is set up once and not for every voter."""
    return hashlib.blake2b(key=derived_key(secret, purpose), digest_size=size)


def keyed_hash(text: bytes, secret: str, purpose: bytes, size: int) -> bytes:
    hashed = keyed_hasher(secret, purpose, size).copy()
    hashed.update(text)
    return hashed.digest()


def fingerprint(secret: str) -> str:
    """Return 32 hexadecimal digits that identify a key without revealing it."""
    return derived_key(secret, b"fingerprint").hex()[:32]


def newest_fingerprint() -> str:
    return fingerprint(signing_secrets()[0])


def known_fingerprints() -> list[str]:
    return [fingerprint(secret) for secret in signing_secrets()]


def voter_secret(poll_secret: bytes, key_fingerprint: str) -> bytes:
    """Return the secret for a poll's voter_keys, made from the poll's secret and a SECRET_KEY.

    SECRET_KEY isn't stored in the database. So nobody who has only the database or a backup can link an
    account, an invite or an API client's voter to a ballot. `key_fingerprint` names the SECRET_KEY to use:
    voters keep their voter_keys when the key is rotated. It is empty for a round that an earlier version
    opened. Such a round uses the poll's secret alone. Raises SecretKeyDiffers if we don't have the key.
    """
    if not key_fingerprint:
        return poll_secret
    for secret in signing_secrets():
        if hmac.compare_digest(fingerprint(secret), key_fingerprint):
            return keyed_hash(poll_secret, secret, b"voters of a poll", 32)
    raise SecretKeyDiffers()
