"""Rate limits by voter, address and network: who is over one is turned away before an append.

What is counted are casts on their way into the log, in the same round trip (the log does
it, see `count` and RedisVoteLog.append). The answer comes with the append's own, and from
then on this process turns away who is over. So a limit costs no wait, and what gets past
it is at most one batch a process. A limit slides: the last window counts for as much of it
as is still within reach.

An address is kept only as a hash, keyed with a salt that is thrown away daily.
"""

from __future__ import annotations

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

#: Seconds for which a salt is used. It may change any time: what was counted before is then forgotten.
SALT_SECONDS = 24 * 3600
VOTER, ADDRESS, NETWORK = b"v", b"a", b"n"
KINDS = {"voter": VOTER, "address": ADDRESS, "network": NETWORK}
_HASH_BYTES = 8  # bytes of a hash that tell one voter or place from another
_MAX_BLOCKED = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many casts in so many seconds."""

    most: int
    seconds: int


@functools.cache
def limits() -> dict[bytes, Limit]:
    """By kind, as settings.RATE_LIMITS has them ("voter=300/60": 300 in 60 s); ValueError for other forms."""
    found = {}
    for text in settings.RATE_LIMITS:
        name, _, rate = text.partition("=")
        most, _, seconds = rate.partition("/")
        if name not in KINDS or not (most.isdigit() and seconds.isdigit() and int(most) and int(seconds)):
            raise ValueError(f"{text!r} is no rate limit such as voter=300/60.")
        found[KINDS[name]] = Limit(int(most), int(seconds))
    return found


@functools.cache
def _venue_networks() -> Networks:
    return tuple(settings.VENUE_NETWORKS)


_salt: tuple[bytes, float] = (b"", 0.0)  # and until when it is good, by the monotonic clock


def salt_expired() -> bool:
    return time.monotonic() >= _salt[1]


def set_salt(salt: bytes, seconds: float) -> None:
    global _salt
    _salt = salt, time.monotonic() + seconds


def new_salt() -> tuple[bytes, float]:
    """For a log that nobody else writes to."""
    return secrets.token_bytes(16), SALT_SECONDS


def keys_of_cast(poll_id: int, voter_key: bytes, address: str, venues: Networks) -> tuple[bytes, ...]:
    """What a cast counts for: kind and hash, each the poll's own."""
    places = _address_keys(poll_id, address, venues, _salt[0]) if address and _salt[0] else ()
    return (VOTER + voter_key[:_HASH_BYTES], *places)


@functools.lru_cache(65_536)
def _address_keys(poll_id: int, address: str, venues: Networks, salt: bytes) -> tuple[bytes, ...]:
    """None at a declared venue, where many voters share an address."""
    if in_networks(address, _venue_networks()) or in_networks(address, venues):
        return ()
    return tuple(
        kind + blake2b(b"%d\0%b" % (poll_id, place.encode()), key=salt, digest_size=_HASH_BYTES).digest()
        for kind, place in ((ADDRESS, client_network(address)), (NETWORK, site_network(address)))
    )


_blocked_until: dict[bytes, float] = {}  # until when, by the monotonic clock


def check(counted: tuple[bytes, ...], *, quarantine: bool = False) -> str:
    """RateLimited for who is over a limit; with `quarantine` the rule for ballots from such a place, else "".

    A voter's own limit always refuses: nobody needs to send their ballot five times a second.
    """
    if not _blocked_until:
        return ""
    now, rule = time.monotonic(), ""
    for field in counted:
        until = _blocked_until.get(field)
        if until is None:
            continue
        if until <= now:
            _blocked_until.pop(field, None)
        elif quarantine and field[:1] != VOTER:
            rule = OVER_LIMIT
        else:
            # Not all at once when it ends.
            wait = int(until - now) + 1 + randint(0, 3)
            raise RateLimited(_MESSAGES[field[:1]], retry_after=wait)
    return rule


#: As in analytics.models.Quarantine.Rule.
OVER_LIMIT = "over_limit"
_MESSAGES = {
    VOTER: _("This voter sends more than a person can; try again in a moment."),
    ADDRESS: _("Many ballots come from this internet address; try again in a moment."),
    NETWORK: _("Many ballots come from this network; try again in a moment."),
}


def count_keys(counted: Iterable[tuple[bytes, ...]]) -> dict[bytes, Counter[bytes]]:
    """How often each voter and place is among these casts, by kind; nothing of kinds that have no limit."""
    found: dict[bytes, Counter[bytes]] = {kind: Counter() for kind in limits()}
    for fields in counted:
        for field in fields:
            if field[:1] in found:
                found[field[:1]][field] += 1
    return {kind: fields for kind, fields in found.items() if fields}


_newly_blocked: set[bytes] = set()


def block_keys(fields: Iterable[bytes], seconds: float) -> None:
    """From now on, and for so long, these are turned away."""
    if len(_blocked_until) > _MAX_BLOCKED:
        _blocked_until.clear()  # a limit may be overshot; memory may not
    now = time.monotonic()
    for field in fields:
        if _blocked_until.get(field, now) <= now:
            _newly_blocked.add(field)  # new; where ballots are quarantined the same one comes again and again
        _blocked_until[field] = now + seconds


def newly_blocked(casts: Iterable[tuple[int, tuple[bytes, ...]]]) -> dict[tuple[int, str], int]:
    """Per poll and kind of place, how many have come over a limit with these casts (poll_id, keys)."""
    if not _newly_blocked:
        return {}
    found = {
        (poll_id, f) for poll_id, fields in casts for f in fields if f in _newly_blocked and f[:1] != VOTER
    }
    _newly_blocked.clear()
    return Counter((poll_id, "address" if field[:1] == ADDRESS else "network") for poll_id, field in found)


class SlidingWindows:
    """The counts of one process, for a log that doesn't keep any; as `count` in landslide.lua."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[bytes, tuple[int, Counter[bytes], Counter[bytes]]] = {}

    def count(self, counted: Iterable[tuple[bytes, ...]]) -> list[bytes]:
        """Count these casts; who is over now."""
        over: list[bytes] = []
        with self._lock:
            for kind, fields in count_keys(counted).items():
                limit = limits()[kind]
                window, gone = divmod(time.monotonic(), limit.seconds)
                this, last = self._windows(kind, int(window))
                this.update(fields)
                left = 1 - gone / limit.seconds
                found = [f for f in fields if this[f] + last[f] * left > limit.most]
                block_keys(found, limit.seconds - gone)
                over += found
        return over

    def _windows(self, kind: bytes, window: int) -> tuple[Counter[bytes], Counter[bytes]]:
        number, this, last = self._counts.get(kind, (window, Counter(), Counter()))
        if number != window:
            this, last = Counter(), this if number == window - 1 else Counter()
        self._counts[kind] = window, this, last
        return this, last


@receiver(setting_changed)  # which only tests do
def forget(**_: Any) -> None:
    """Everything: what was counted, who is over, and the salt."""
    global _salt
    _salt = b"", 0.0
    _newly_blocked.clear()
    limits.cache_clear()
    _venue_networks.cache_clear()
    _address_keys.cache_clear()
    _blocked_until.clear()
