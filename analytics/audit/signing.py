"""Signs audit bundles with the Ed25519 key in settings.AUDIT_KEY.

Organisers publish the fingerprint: the SHA-256 of the 32 octets of the public key.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

SCHEME = "Ed25519"


def sign(message: bytes) -> bytes:
    return _key().sign(message)


def public_key() -> bytes:
    return _key().public_key().public_bytes_raw()


def fingerprint() -> str:
    return hashlib.sha256(public_key()).hexdigest()


def format_fingerprint(digits: str) -> str:
    """Format a fingerprint for people to compare: groups of eight digits."""
    return " ".join(digits[i : i + 8] for i in range(0, len(digits), 8))


def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(settings.AUDIT_KEY))
