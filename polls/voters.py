"""Who is voting: a signed cookie or an API client's voter, made into a voter_key.

A voter_key is a keyed hash of the voter's identity with the poll's own secret, so the
same browser is somebody else in every poll, and nobody once the secret is destroyed.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from .errors import InvalidKey
from .models import ApiClient

COOKIE = "voter"
COOKIE_MAX_AGE = 365 * 24 * 3600
_TOKEN = 16
_MAC = 16
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_COOKIE_LENGTH = 43  # base64 of token and MAC, without padding


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
def keyed(secret: str, purpose: bytes, size: int) -> Any:
    """A keyed BLAKE2b to copy: what the key costs is paid once, not for every voter."""
    return hashlib.blake2b(key=derived_key(secret, purpose), digest_size=size)


def keyed_hash(text: bytes, secret: str, purpose: bytes, size: int) -> bytes:
    hashed = keyed(secret, purpose, size).copy()
    hashed.update(text)
    digest: bytes = hashed.digest()
    return digest


def _mac(token: bytes, secret: str) -> bytes:
    return keyed_hash(token, secret, b"voter cookie", _MAC)


def mint() -> str:
    """The value of a new voter cookie: a random token and its signature."""
    token = secrets.token_bytes(_TOKEN)
    return urlsafe_b64encode(token + _mac(token, signing_secrets()[0])).rstrip(b"=").decode()


def token_from(cookie: str | None) -> bytes | None:
    """The token of a cookie that we signed; None for anything else."""
    if cookie is None or len(cookie) != _COOKIE_LENGTH:
        return None
    try:
        raw = a2b_base64(cookie.encode().translate(_URL_SAFE) + b"=")
    except ValueError:
        return None
    token, mac = raw[:_TOKEN], raw[_TOKEN:]
    for secret in signing_secrets():
        if hmac.compare_digest(mac, _mac(token, secret)):
            return token
    return None


def cookie_header(value: str, *, secure: bool) -> str:
    """The Set-Cookie header for a voter cookie."""
    header = f"{COOKIE}={value}; Path=/; Max-Age={COOKIE_MAX_AGE}; HttpOnly; SameSite=Lax"
    return f"{header}; Secure" if secure else header


def browser_key(poll_secret: bytes, token: bytes) -> bytes:
    return _voter_key(poll_secret, b"browser\0" + token)


def client_key(poll_secret: bytes, client: ApiClient, voter: str) -> bytes:
    """An API client's voter; two clients' voters with the same id are two voters."""
    identity = f"client\0{client.prefix}\0{voter}".encode("utf-8", "surrogatepass")
    return _voter_key(poll_secret, identity)


def _voter_key(poll_secret: bytes, identity: bytes) -> bytes:
    return hashlib.blake2b(identity, key=poll_secret, digest_size=16).digest()


def client_from(authorization: str | None) -> ApiClient | None:
    """The API client behind `Authorization: Api-Key …`; None where no such header was sent.

    Raises InvalidKey for a wrong, expired or revoked key.
    """
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "api-key":
        return None
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidKey()  # and no question to the database, which may not take such a text
    try:
        client: ApiClient = ApiClient.objects.get_from_key(key)  # type: ignore[assignment]  # its manager is generic
    except ApiClient.DoesNotExist:
        raise InvalidKey() from None
    if client.has_expired:
        raise InvalidKey()
    return client
