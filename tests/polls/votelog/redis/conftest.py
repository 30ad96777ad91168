"""An empty Redis vote log."""

import pytest

from polls.votelog.contract import VoteLog
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import (
    make,
)
from tests.servers import Redis


@pytest.fixture
def log(redis_server: Redis) -> VoteLog:
    log = RedisVoteLog(redis_server.url(), prefix="test", partitions=3)
    make(log)
    return log
