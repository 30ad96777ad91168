"""Voter identity: from a signed cookie, a pass, or an API client's voter id to a voter_key.

A browser is identified by its cookie `voter`. In polls for accounts or invites, the voter endpoint checks the
session or the invite. The endpoint issues a cookie `pass` for that poll, so that a cast needs neither session
nor invite.

A voter_key is a keyed hash of the identity under the poll's voter secret (`keys.voter_secret`). A browser has
a different voter_key in every poll. Once the poll's secret is destroyed, nobody can compute its voter_keys.
The database without SECRET_KEY isn't enough either.
"""

import hashlib
import secrets
import struct
from base64 import urlsafe_b64encode
from typing import Any

from django.utils.translation import gettext_lazy

from polls import clock
from polls.errors import InvalidKey, NotEligible, VoterUnknown
from polls.keys import MAC_BYTES, Mac, keyed_hash, sign, verify
from polls.models import ApiClient, Identity

COOKIE = "voter"
PASS_COOKIE = "pass"  # noqa: S105
#: The lifetime of a pass: short, so that a stolen or lent pass soon expires. A page gets a new pass from each
#: call of voter/.
PASS_SECONDS = 3600
COOKIE_MAX_AGE = 365 * 24 * 3600
_TOKEN_BYTES = 16


def _mac(token: bytes, secret: str) -> bytes:
    return keyed_hash(token, secret, b"voter cookie", MAC_BYTES)


def new_cookie() -> str:
    """Return the value of a new voter cookie: a random token and its MAC."""
    return sign(secrets.token_bytes(_TOKEN_BYTES), _mac)


def read_cookie(cookie: str | None) -> bytes | None:
    """Return the token of a cookie that we signed, None for anything else."""
    return verify(cookie, _TOKEN_BYTES, _mac)


def cookie_header(value: str, *, secure: bool) -> str:
    """Return the Set-Cookie header for a voter cookie."""
    header = f"{COOKIE}={value}; Path=/; Max-Age={COOKIE_MAX_AGE}; HttpOnly; SameSite=Lax"
    return f"{header}; Secure" if secure else header


_PASS = struct.Struct(">II16s")  # poll_id, end (s), voter_key
#: The identity policies that use a pass, each with a signing key for its own purpose.
_PURPOSES: dict[str, bytes] = {Identity.LOGIN: b"pass login", Identity.INVITE: b"pass invite"}
WITH_PASS = frozenset(_PURPOSES)


def make_pass(identity: str, poll_id: int, voter_secret: bytes, voter_key: bytes) -> str:
    """Return the value of a pass cookie. For PASS_SECONDS, its holder can vote in this poll as this voter.

    A pass is bound to `identity`, which may change after a reset, and to the voter secret, which a purge
    destroys. Otherwise, after such a change, a person could vote as the old voter and as a new one.
    """
    body = _PASS.pack(poll_id, int(clock.now()) + PASS_SECONDS, voter_key)
    return sign(body, _pass_mac(voter_secret, _PURPOSES[identity]))


def read_pass(identity: str, poll_id: int, voter_secret: bytes, cookie: str | None) -> bytes | None:
    """Return the voter_key of a valid pass for this poll, None for anything else."""
    purpose = _PURPOSES.get(identity)
    body = verify(cookie, _PASS.size, _pass_mac(voter_secret, purpose)) if purpose else None
    if body is None:
        return None
    poll, end, voter_key = _PASS.unpack(body)
    return voter_key if poll == poll_id and end > clock.now() else None


def _pass_mac(voter_secret: bytes, purpose: bytes) -> Mac:
    return lambda body, secret: keyed_hash(body + voter_secret, secret, purpose, MAC_BYTES)


def pass_headers(code: str, value: str, *, secure: bool) -> list[str]:
    """Return Set-Cookie headers for a pass. The paths limit the pass to the API and the sockets of this poll.

    The attributes are in the order in which Django writes them.
    """
    start = f"{PASS_COOKIE}={value}; HttpOnly; Max-Age={PASS_SECONDS if value else 0}"
    end = "SameSite=Lax; Secure" if secure else "SameSite=Lax"
    return [f"{start}; Path={path}/polls/{code}/; {end}" for path in ("/api/v1", "/ws")]


def identify_voter(
    identity: str, poll_id: int, secret: bytes, cookie: str | None, pass_: str | None
) -> bytes:
    """Return the voter_key for these cookies; raise VoterUnknown or NotEligible if they identify no voter."""
    if identity == Identity.BROWSER:
        token = read_cookie(cookie)
        if token is None:
            raise VoterUnknown()
        return browser_key(secret, token)
    key = read_pass(identity, poll_id, secret, pass_)
    if key is None:
        raise NotEligible(_REFUSALS[identity], needs=str(identity))
    return key


_REFUSALS: dict[str, Any] = {
    Identity.LOGIN: gettext_lazy("This poll is for people who are signed in."),
    Identity.INVITE: gettext_lazy("This poll is for people with an invite."),
    Identity.CLIENT: gettext_lazy("In this poll an API client casts the ballots of its voters."),
}


def login_key(voter_secret: bytes, user_id: int) -> bytes:
    return _voter_key(voter_secret, b"login\0%d" % user_id)


def invite_key(voter_secret: bytes, batch_id: int, serial: int) -> bytes:
    return _voter_key(voter_secret, b"invite\0%d\0%d" % (batch_id, serial))


def voter_tag(voter_key: bytes) -> str:
    """Return a tag by which the voter's page distinguishes voters on one device. It identifies nobody."""
    digest = hashlib.blake2b(voter_key, digest_size=9, person=b"voter's page").digest()
    return urlsafe_b64encode(digest).decode()


def browser_key(voter_secret: bytes, token: bytes) -> bytes:
    return _voter_key(voter_secret, b"browser\0" + token)


def client_key(voter_secret: bytes, client: ApiClient, voter: str) -> bytes:
    """Return the voter_key of an API client's voter. If two clients use the same id, these are two voters."""
    identity = f"client\0{client.prefix}\0{voter}".encode("utf-8", "surrogatepass")
    return _voter_key(voter_secret, identity)


def _voter_key(voter_secret: bytes, identity: bytes) -> bytes:
    return hashlib.blake2b(identity, key=voter_secret, digest_size=16).digest()


def authenticate_client(authorization: str | None) -> ApiClient | None:
    """Return the API client of an `Api-Key` header, None without one. Raise InvalidKey for a bad key."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "api-key":
        return None
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidKey()  # don't query: PostgreSQL doesn't accept every text
    try:
        client: ApiClient = ApiClient.objects.get_from_key(key)  # type: ignore[assignment]  # its manager is generic
    except ApiClient.DoesNotExist:
        raise InvalidKey() from None
    if client.has_expired:
        raise InvalidKey()
    return client
