"""Rate limits in Redis. Casts of all processes are counted together, in the round trip of an append."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from polls.votelog import rate_limits
from polls.votelog.admission import NewBallot
from polls.votelog.redis.functions import Call
from polls.votelog.redis.keys import Keys

logger = logging.getLogger(__name__)


class RedisRateLimits:
    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def calls_for(self, ballots: Sequence[NewBallot]) -> dict[bytes, Call]:
        """Return the calls that count these casts, by kind of limit. The keys belong to no partition."""
        calls = {}
        for kind, keys in rate_limits.count_keys(ballot.rate_limit_keys for ballot in ballots).items():
            limit = rate_limits.limits()[kind]
            args: list[Any] = [limit.seconds, limit.most]
            for key, times in keys.items():
                args += (key, times)
            calls[kind] = ("landslide_count", [self._keys.limits(kind.decode())], args)
        return calls

    def apply(self, calls: Mapping[bytes, Call], answers: Sequence[Any]) -> None:
        """Block the keys that the answers name."""
        for (_name, _keys, args), answer in zip(calls.values(), answers, strict=True):
            if isinstance(answer, Exception):
                # Never fail an append because of a limit.
                logger.warning("limits_not_counted", extra={"error": str(answer)})
            else:
                milliseconds, over = answer
                rate_limits.block_keys((args[index] for index in over), milliseconds / 1000)

    def salt(self) -> tuple[bytes, float]:
        """Return the salt that all processes share, and for how many seconds from now it is valid."""
        key = self._keys.limits("salt")
        self._redis.set(key, secrets.token_bytes(16), nx=True, ex=rate_limits.SALT_SECONDS)
        pipe = self._redis.pipeline(transaction=True)
        pipe.get(key)
        pipe.pttl(key)
        salt, left = pipe.execute()
        return (salt, left / 1000) if salt and left > 0 else rate_limits.new_salt()
