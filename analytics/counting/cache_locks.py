"""Best-effort locks in the cache, which only save work. Each lock expires by itself, also after a crash.

Work that must not be done twice is guarded by a lock in the database.
"""

from contextlib import suppress

from django.core.cache import cache


def try_lock(name: str, seconds: int) -> bool:
    """Take a lock. Return whether the lock was free. Also return True while the cache is down."""
    try:
        return bool(cache.add(name, 1, seconds))
    except Exception:
        return True


def extend(name: str, seconds: int) -> None:
    with suppress(Exception):
        cache.touch(name, seconds)


def unlock(name: str) -> None:
    with suppress(Exception):
        cache.delete(name)
