"""Keys derived from SECRET_KEY, each for one purpose, and what a poll's voters are known by."""

from __future__ import annotations

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
    """A key for one purpose from a SECRET_KEY, so that no two uses share one."""
    return hmac.digest(secret.encode(), b"landslide " + purpose, "sha256")


@functools.cache
def signing_secrets() -> tuple[str, ...]:
    """The SECRET_KEY and, after a change of it, those before: what they signed is still ours."""
    return (settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS))


@receiver(setting_changed)  # which only tests do
def _forget_secrets(**_: Any) -> None:
    signing_secrets.cache_clear()


@functools.cache
def keyed_hasher(secret: str, purpose: bytes, size: int) -> Any:
    """A keyed BLAKE2b to copy: what the key costs is paid once, not for every voter."""
    return hashlib.blake2b(key=derived_key(secret, purpose), digest_size=size)


def keyed_hash(text: bytes, secret: str, purpose: bytes, size: int) -> bytes:
    hashed = keyed_hasher(secret, purpose, size).copy()
    hashed.update(text)
    digest: bytes = hashed.digest()
    return digest


def fingerprint(secret: str) -> str:
    """What tells two keys apart and leads back to neither: 32 hexadecimal digits."""
    return derived_key(secret, b"fingerprint").hex()[:32]


def newest_fingerprint() -> str:
    return fingerprint(signing_secrets()[0])


def known_fingerprints() -> list[str]:
    return [fingerprint(secret) for secret in signing_secrets()]


def voter_secret(poll_secret: bytes, voters_by: str) -> bytes:
    """What a poll's voter_keys are made with: its own secret, and a SECRET_KEY, which no database has.

    So the database alone, or a backup of it, links no account, invite or API client's voter to a ballot.
    `voters_by` is that SECRET_KEY's fingerprint: after a change of SECRET_KEY the poll's voters stay who they
    are. Of a round that an earlier version began it is empty, and the poll's secret alone counts.
    """
    if not voters_by:
        return poll_secret
    for secret in signing_secrets():
        if hmac.compare_digest(fingerprint(secret), voters_by):
            return keyed_hash(poll_secret, secret, b"voters of a poll", 32)
    raise SecretKeyDiffers()
