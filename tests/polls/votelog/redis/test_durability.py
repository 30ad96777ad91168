"""A Redis that could lose acknowledged ballots is refused, with a hint on what to set."""

from collections.abc import Callable
from typing import Any

import pytest

from polls.errors import LogUnsuitable
from polls.votelog.redis.log import RedisVoteLog
from tests.servers import Redis


class TestDurability:
    def refusal(self, server: Redis) -> LogUnsuitable:
        with pytest.raises(LogUnsuitable) as caught:
            RedisVoteLog(server.url()).verify()
        return caught.value

    def test_a_durable_redis_is_accepted(self, redis_server: Redis) -> None:
        RedisVoteLog(redis_server.url()).verify()

    def test_without_an_append_only_file_it_is_refused(self, start_redis: Callable[..., Redis]) -> None:
        refusal = self.refusal(start_redis(appendonly="no"))
        assert "append-only" in refusal.detail
        assert "CONFIG SET appendonly yes" in refusal.hint

    def test_everysec_is_refused_unless_allowed(
        self, start_redis: Callable[..., Redis], settings: Any
    ) -> None:
        server = start_redis(appendfsync="everysec")
        refusal = self.refusal(server)
        assert "everysec" in refusal.detail
        assert "CONFIG SET appendfsync always" in refusal.hint
        settings.VOTE_LOG_DURABILITY = "everysec"
        RedisVoteLog(server.url()).verify()

    def test_appendfsync_no_is_always_refused(self, start_redis: Callable[..., Redis], settings: Any) -> None:
        settings.VOTE_LOG_DURABILITY = "everysec"
        assert "appendfsync is no" in self.refusal(start_redis(appendfsync="no")).detail

    def test_eviction_is_refused(self, start_redis: Callable[..., Redis]) -> None:
        refusal = self.refusal(start_redis(maxmemory_policy="allkeys-lru"))
        assert "allkeys-lru" in refusal.detail
        assert "CONFIG SET maxmemory-policy noeviction" in refusal.hint
