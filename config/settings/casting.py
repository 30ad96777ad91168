"""The vote log, and limits of casting and counting."""

from config.env import SQLITE
from config.settings.base import REDIS_URL, env
from config.settings.stores import DATABASES

VOTE_LOG_REDIS_URL = env.str("VOTE_LOG_REDIS_URL", default=REDIS_URL)
VOTE_LOG = env.str("VOTE_LOG", default="redis" if VOTE_LOG_REDIS_URL else "database")
VOTE_LOG_BACKENDS = {
    "database": "polls.votelog.database.DatabaseVoteLog",
    "redis": "polls.votelog.redis.log.RedisVoteLog",
}
VOTE_LOG_PARTITIONS = env.int("VOTE_LOG_PARTITIONS", default=2)
VOTE_LOG_DURABILITY = env.str("VOTE_LOG_DURABILITY", default="always")
VOTE_LOG_PREFIX = env.str("VOTE_LOG_PREFIX", default="landslide")

#: With this many uncounted ballots the log refuses new ones, because its memory is limited.
BACKLOG_LIMIT = env.int("BACKLOG_LIMIT", default=5_000_000)
RATE_LIMITS = env.list("RATE_LIMITS", default=["voter=300/60", "address=600/60", "network=6000/60"])
#: Networks where many voters share an address. By default these are all private networks. A private address
#: belongs to a hall's network, or to a proxy that is missing in TRUSTED_PROXIES.
VENUE_NETWORKS = env.list(
    "VENUE_NETWORKS",
    default=["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7", "fe80::/10"],
)

CAST_MAX_BYTES = env.int("CAST_MAX_BYTES", default=16 * 1024)
BATCH_MAX_BYTES = env.int("BATCH_MAX_BYTES", default=8 * 1024 * 1024)
BATCH_MAX_BALLOTS = env.int("BATCH_MAX_BALLOTS", default=10_000)
CAST_QUEUE_LIMIT = env.int("CAST_QUEUE_LIMIT", default=20_000)
CAST_DEADLINE_SECONDS = env.float("CAST_DEADLINE_SECONDS", default=10)
# A proof of work takes at most this many hashes, and half on average: about a second on a phone.
PROOF_WORK = env.int("PROOF_WORK", default=400_000)
# SQLite has one writer: a batch must be short enough not to delay casts.
COUNT_BATCH = env.int("COUNT_BATCH", default=500 if DATABASES["default"]["ENGINE"] == SQLITE else 10_000)
SWEEP_SECONDS = env.float("SWEEP_SECONDS", default=2)
RETENTION_DAYS = env.int("RETENTION_DAYS", default=0)
