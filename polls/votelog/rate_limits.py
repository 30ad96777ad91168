"""Rate limits by voter, address and network.

The log counts casts in the round trip that appends them, and its answer says which limits are exceeded. From
then on this process refuses such casts before an append. A limit therefore costs no extra round trip, and at
most one batch per process exceeds it. Windows slide: the count of the previous fixed window still counts,
weighted by the part of that window that is inside the sliding window.

Addresses are stored only as hashes, with a salt that is replaced daily (docs/decisions/rate-limits.md).
"""

import functools
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from random import randint
from threading import Lock
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from polls.errors import RateLimited
from polls.http.client_address import Networks, client_network, in_networks, site_network

#: Seconds for which a salt is valid. A new salt starts the counts by address from zero.
SALT_SECONDS = 24 * 3600
VOTER, ADDRESS, NETWORK = b"v", b"a", b"n"
KINDS = {"voter": VOTER, "address": ADDRESS, "network": NETWORK}
_HASH_BYTES = 8
_MAX_BLOCKED = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` casts in `seconds`."""

    most: int
    seconds: int


@functools.cache
def limits() -> dict[bytes, Limit]:
    """Parse settings.RATE_LIMITS ("voter=300/60": 300 in 60 s) by kind; raise ValueError if malformed."""
    found = {}
    for text in settings.RATE_LIMITS:
        name, _, rate = text.partition("=")
        most, _, seconds = rate.partition("/")
        if name not in KINDS or not (most.isdigit() and seconds.isdigit() and int(most) and int(seconds)):
            raise ValueError(f"{text!r} is not a rate limit such as voter=300/60.")
        found[KINDS[name]] = Limit(int(most), int(seconds))
    return found


@functools.cache
def _venue_networks() -> Networks:
    return tuple(settings.VENUE_NETWORKS)


_salt: tuple[bytes, float] = (b"", 0.0)  # the salt, and when it expires by the monotonic clock


def salt_expired() -> bool:
    return time.monotonic() >= _salt[1]


def set_salt(salt: bytes, seconds: float) -> None:
    global _salt
    _salt = salt, time.monotonic() + seconds


def new_salt() -> tuple[bytes, float]:
    """Make a salt for this process only; return it with the seconds for which it is valid."""
    return secrets.token_bytes(16), SALT_SECONDS


def keys_of_cast(poll_id: int, voter_key: bytes, address: str, venues: Networks) -> tuple[bytes, ...]:
    """Return the keys under which a cast is counted. Each is a kind and a hash, different in every poll."""
    places = _address_keys(poll_id, address, venues, _salt[0]) if address and _salt[0] else ()
    return (VOTER + voter_key[:_HASH_BYTES], *places)


@functools.lru_cache(65_536)
def _address_keys(poll_id: int, address: str, venues: Networks, salt: bytes) -> tuple[bytes, ...]:
    """Return the keys of an address; none at a venue, where many voters share an address."""
    if in_networks(address, _venue_networks()) or in_networks(address, venues):
        return ()
    return tuple(
        kind + blake2b(b"%d\0%b" % (poll_id, place.encode()), key=salt, digest_size=_HASH_BYTES).digest()
        for kind, place in ((ADDRESS, client_network(address)), (NETWORK, site_network(address)))
    )


_blocked_until: dict[bytes, float] = {}  # until when each key is blocked, by the monotonic clock


def check(keys: tuple[bytes, ...], *, quarantine: bool = False) -> str:
    """Raise RateLimited if a key is over its limit; return "" if none is.

    With `quarantine`, ballots of an address or network over its limit aren't refused. Instead, the rule that
    quarantines such ballots is returned. A voter's own limit always refuses, since nobody needs to send a
    ballot five times a second.
    """
    if not _blocked_until:
        return ""
    now, rule = time.monotonic(), ""
    for key in keys:
        until = _blocked_until.get(key)
        if until is None:
            continue
        if until <= now:
            _blocked_until.pop(key, None)
        elif quarantine and key[:1] != VOTER:
            rule = OVER_LIMIT
        else:
            # Jitter, so that refused clients don't all return at once.
            wait = int(until - now) + 1 + randint(0, 3)
            raise RateLimited(_MESSAGES[key[:1]], retry_after=wait)
    return rule


#: The name of the rule, as in analytics.models.Quarantine.Rule.
OVER_LIMIT = "over_limit"
_MESSAGES = {
    VOTER: _("This voter sends ballots faster than a person can; try again in a moment."),
    ADDRESS: _("Many ballots come from this internet address; try again in a moment."),
    NETWORK: _("Many ballots come from this network; try again in a moment."),
}


def count_keys(casts: Iterable[tuple[bytes, ...]]) -> dict[bytes, Counter[bytes]]:
    """Count how often each key of a limited kind occurs, by kind."""
    found: dict[bytes, Counter[bytes]] = {kind: Counter() for kind in limits()}
    for keys in casts:
        for key in keys:
            if key[:1] in found:
                found[key[:1]][key] += 1
    return {kind: keys for kind, keys in found.items() if keys}


_newly_blocked: set[bytes] = set()


def block_keys(keys: Iterable[bytes], seconds: float) -> None:
    """Refuse casts with these keys for this many seconds."""
    if len(_blocked_until) > _MAX_BLOCKED:
        _blocked_until.clear()  # to bound memory; each key may then exceed its limit by one more batch
    now = time.monotonic()
    for key in keys:
        if _blocked_until.get(key, now) <= now:
            _newly_blocked.add(key)  # report a key once; casts of a quarantined key block it again and again
        _blocked_until[key] = now + seconds


def newly_blocked(casts: Iterable[tuple[int, tuple[bytes, ...]]]) -> dict[tuple[int, str], int]:
    """Count the addresses and networks of these casts that newly exceed a limit, by (poll_id, kind)."""
    if not _newly_blocked:
        return {}
    found = {(poll_id, key) for poll_id, keys in casts for key in keys if key in _newly_blocked}
    _newly_blocked.clear()
    return Counter(
        (poll_id, "address" if key[:1] == ADDRESS else "network")
        for poll_id, key in found
        if key[:1] != VOTER
    )


class SlidingWindows:
    """Counts casts in this process, for the database's log. `count` in landslide.lua does the same."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[bytes, tuple[int, Counter[bytes], Counter[bytes]]] = {}

    def count(self, casts: Iterable[tuple[bytes, ...]]) -> list[bytes]:
        """Count these casts; return and block the keys that are over their limit now."""
        over: list[bytes] = []
        with self._lock:
            for kind, keys in count_keys(casts).items():
                limit = limits()[kind]
                window, elapsed = divmod(time.monotonic(), limit.seconds)
                current, previous = self._windows(kind, int(window))
                current.update(keys)
                covered = 1 - elapsed / limit.seconds  # the part of the previous window that still counts
                exceeding = [key for key in keys if current[key] + previous[key] * covered > limit.most]
                block_keys(exceeding, limit.seconds - elapsed)
                over += exceeding
        return over

    def _windows(self, kind: bytes, window: int) -> tuple[Counter[bytes], Counter[bytes]]:
        number, current, previous = self._counts.get(kind, (window, Counter(), Counter()))
        if number != window:
            current, previous = Counter(), current if number == window - 1 else Counter()
        self._counts[kind] = window, current, previous
        return current, previous


@receiver(setting_changed)  # only tests send this signal
def forget(**_: Any) -> None:
    """Clear the blocked keys, the salt and everything cached from settings."""
    global _salt
    _salt = b"", 0.0
    _newly_blocked.clear()
    limits.cache_clear()
    _venue_networks.cache_clear()
    _address_keys.cache_clear()
    _blocked_until.clear()
