"""The vote log in Redis Streams: a Redis Function decides ballots and appends them.

An append is one pipeline with one Function call per partition, and each call's answer is about its own
ballots. A call whose reply was lost is repeated, so it may run twice. The claim on (voter, ballot_id),
written in the same call, makes the second run answer like the first. If the second run is refused, the first
run may still have written the ballots, so their outcome is unknown.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import redis
from django.conf import settings
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from polls.errors import LogInconsistent
from polls.votelog.admission import (
    REMEMBERED_BALLOTS,
    Claimed,
    Gate,
    NewBallot,
    Outcome,
    digest_of,
    pack_claim,
    unpack_claim,
)
from polls.votelog.columns import Columns, parse_entry
from polls.votelog.entries import Block, Head, Marker, partition_of
from polls.votelog.redis.durability import verify
from polls.votelog.redis.functions import Call, Functions, definite_refusal
from polls.votelog.redis.heads import FORMAT, Heads
from polls.votelog.redis.keys import Keys
from polls.votelog.redis.limits import RedisRateLimits

logger = logging.getLogger(__name__)

_SCAN = 1000
_MIN_READ = 32  # stream entries per XRANGE
_RESTORE = 2000  # arguments per call; a claim has two
_UNKNOWN = Outcome("outcome_unknown")
_NO_CHECKPOINT = LogInconsistent()

_Polls = dict[tuple[int, str], Columns]  # a partition's ballots, by poll and quarantine rule


class RedisVoteLog:
    name = "redis"

    def __init__(
        self,
        url: str = "",
        prefix: str = "",
        partitions: int = 0,
        counted: Callable[[], Mapping[int, Head]] = dict,
    ) -> None:
        """counted: reads from the database how far each partition is counted."""
        self.partitions = partitions or settings.VOTE_LOG_PARTITIONS
        self._keys = Keys(prefix or settings.VOTE_LOG_PREFIX)
        connect = partial(
            redis.Redis.from_url,
            url or settings.VOTE_LOG_REDIS_URL,
            protocol=3,
            socket_timeout=4,
            socket_connect_timeout=2,
            socket_keepalive=True,
            health_check_interval=30,
        )
        self._redis = connect(retry=Retry(ExponentialBackoff(base=0.02, cap=0.2), 2))
        self._functions = Functions(connect)
        self._heads = Heads(self._redis, self._functions, self._keys, counted)
        self._limits = RedisRateLimits(self._redis, self._keys)

    def append(self, ballots: Sequence[NewBallot], expected: Mapping[int, Head]) -> list[Outcome]:
        together: dict[int, _Polls] = {}
        for index, ballot in enumerate(ballots):
            polls = together.setdefault(partition_of(ballot.poll_id, ballot.voter_key, self.partitions), {})
            columns = polls.get((ballot.poll_id, ballot.quarantine_rule))
            if columns is None:
                columns = polls[ballot.poll_id, ballot.quarantine_rule] = Columns()
            columns.add(index, ballot)
        calls = {
            partition: self._append_call(partition, polls, expected[partition])
            for partition, polls in together.items()
            if partition in expected
        }
        counting = self._limits.calls_for(ballots)
        answers, lost = self._functions.call_each([*calls.values(), *counting.values()], self._compare)
        self._limits.apply(counting, answers[len(calls) :])
        appended = dict(zip(calls, answers, strict=False))
        outcomes: list[Outcome] = [_UNKNOWN] * len(ballots)
        for partition, polls in together.items():
            answer = appended.get(partition, _NO_CHECKPOINT)
            if isinstance(answer, Exception):
                refused = _outcome_of(answer, partition, lost=lost and partition in calls)
                for columns in polls.values():
                    columns.set_all(outcomes, refused)
                continue
            position, *verdicts = answer
            self._heads.written[partition] = Head(expected[partition].generation, int(position))
            for columns, (letters, round_, rounds) in zip(polls.values(), verdicts, strict=True):
                columns.set_outcomes(outcomes, letters.decode(), round_, rounds.decode())
        return outcomes

    def _append_call(self, partition: int, polls: _Polls, head: Head) -> Call:
        most = settings.BACKLOG_LIMIT // self.partitions
        written = self._heads.written_position(partition, head.generation)
        args: list[Any] = [head.generation, head.position, REMEMBERED_BALLOTS, most, written]
        for (poll_id, rule), columns in polls.items():
            args += (*columns.arguments(poll_id), rule)
        keys = [
            *self._keys.partition(partition),
            *(self._keys.claims(partition, poll_id) for poll_id, _ in polls),
        ]
        return "landslide_append", keys, args

    def salt(self) -> tuple[bytes, float]:
        return self._limits.salt()

    def read(self, partition: int, after: int, limit: int) -> list[Block]:
        log, found = self._keys.partition(partition)[0], 0
        blocks: list[Block] = []
        while found < limit:
            # Estimate from the blocks read so far how many stream entries hold the remaining ballots.
            most = max(_MIN_READ, (limit - found) * len(blocks) // max(found, 1))
            rows: Any = self._redis.xrange(log, min=f"({after}-0", count=most)
            for entry_id, fields in rows:
                block = parse_entry(entry_id, dict(fields), after).after(after)
                blocks.append(block)
                after, found = block.last, found + len(block)
                if found >= limit:
                    break
            if len(rows) < most:
                break
        return blocks

    def trim(self, partition: int, upto: int) -> None:
        self._call([("landslide_trim", self._keys.partition(partition), [upto])])

    def forget(self, poll_id: int, counted: Mapping[int, int]) -> None:
        for partition in range(self.partitions):
            self._forget_ballots(partition, poll_id, counted.get(partition, 0))
            claims = self._keys.claims(partition, poll_id)
            buckets: Any = self._redis.hget(claims, "buckets")
            # Delete one more bucket than is in use, because a failed split may have left one behind.
            keys = [f"{claims}:{n}" for n in range(int(buckets or 1) + 1)]
            for start in range(0, len(keys), _SCAN):
                self._redis.unlink(*keys[start : start + _SCAN])
            # Delete this last, so that a retry still knows the number of buckets.
            self._redis.unlink(claims)

    def _forget_ballots(self, partition: int, poll_id: int, upto: int) -> None:
        log, after = self._keys.partition(partition)[0], "-"
        while True:
            rows: Any = self._redis.xrange(log, min=after, max=f"{upto}-0", count=_SCAN)
            if not rows:
                return
            found = [entry_id for entry_id, fields in rows if _is_ballot_of(poll_id, fields)]
            if found:
                self._redis.xdel(log, *found)
            after = f"({rows[-1][0].decode()}"

    def heads(self) -> dict[int, Head]:
        return self._heads.existing(range(self.partitions))

    def head(self, partition: int) -> Head | None:
        return self._heads.read([partition])[0]

    def find(self, poll_id: int, round: int, voter_key: bytes) -> bytes | None:
        partition = partition_of(poll_id, voter_key, self.partitions)
        keys = [*self._keys.partition(partition), self._keys.claims(partition, poll_id)]
        (record,) = self._call([("landslide_find", keys, [voter_key])])
        claimed = unpack_claim(record or b"")
        return next((c.ballot_id for c in reversed(claimed) if c.round == round), None)

    def open(self, poll_id: int, gate: Gate) -> None:
        each = -(-gate.expected // self.partitions)
        args = [poll_id, gate.round, gate.pack(), each]
        self._call(
            [
                ("landslide_open", [*self._keys.partition(p), self._keys.claims(p, poll_id)], args)
                for p in range(self.partitions)
            ]
        )

    def close(self, poll_id: int, round: int) -> list[Marker]:
        replies = self._call_all("landslide_close", poll_id, round)
        return [
            Marker(partition, int(reply[0]), int(reply[1]))
            for partition, reply in enumerate(replies)
            if reply is not None and len(reply)
        ]

    def reset(self, poll_id: int, round: int) -> None:
        self._call_all("landslide_reset", poll_id, round, Gate(round).pack())

    def make(self, partition: int, head: Head) -> None:
        self._call([("landslide_make", self._keys.partition(partition), [head.generation, head.position])])

    def rebuild(self, partition: int, head: Head, gates: Mapping[int, Gate]) -> None:
        log, head_key, gates_key = self._keys.partition(partition)
        pipe = self._redis.pipeline(transaction=True)
        pipe.unlink(log, head_key, gates_key)
        if gates:
            pipe.hset(gates_key, mapping={str(poll_id): gate.pack() for poll_id, gate in gates.items()})
        pipe.hset(
            head_key,
            mapping={
                "generation": head.generation,
                "position": head.position,
                "trimmed": head.position,
                "format": FORMAT,
            },
        )
        pipe.execute()
        # Delete the claims last: once the head has its new generation, appends to the old one are refused.
        for key in self._redis.scan_iter(match=f"{log[:-4]}:claims:*", count=_SCAN):
            self._redis.unlink(key)

    def restore_claims(self, partition: int, claims: Iterable[tuple[int, int, bytes, bytes, str]]) -> None:
        by_poll: dict[int, list[bytes]] = defaultdict(list)
        for poll_id, round_, voter_key, ballot_id, selection in claims:
            claimed = Claimed(round_, ballot_id, digest_of(selection))
            by_poll[poll_id] += (voter_key, pack_claim([claimed]))
        calls: list[Call] = []
        for poll_id, args in by_poll.items():
            keys = [*self._keys.partition(partition), self._keys.claims(partition, poll_id)]
            for start in range(0, len(args), _RESTORE):
                part = args[start : start + _RESTORE]
                calls.append(("landslide_restore", keys, [REMEMBERED_BALLOTS, *part]))
        if calls:
            self._call(calls)

    def clock(self) -> int:
        seconds, micros = self._redis.time()
        return seconds * 1000 + micros // 1000

    def verify(self) -> None:
        verify(self._redis)

    def _call_all(self, function: str, *args: Any) -> list[Any]:
        """Call a Function on every partition in one round trip."""
        return self._call([(function, self._keys.partition(p), list(args)) for p in range(self.partitions)])

    def _call(self, calls: Sequence[Call]) -> list[Any]:
        return self._functions.call(calls, self._compare)

    def _compare(self) -> dict[str, Exception]:
        return self._heads.compare(range(self.partitions))


def _outcome_of(error: Exception, partition: int, *, lost: bool) -> Outcome:
    """Return the outcome of ballots whose call failed. The outcome is unknown if the call may have written
    the ballots.

    lost: whether a reply was lost, so that the call may have written when it first ran.
    """
    refused = definite_refusal(error)
    if refused is None or lost:
        logger.error("append_failed", extra={"partition": partition, "error": str(error)})
        return _UNKNOWN
    return Outcome(refused.code)


def _is_ballot_of(poll_id: int, fields: Mapping[bytes, bytes]) -> bool:
    return int(fields[b"p"]) == poll_id and b"c" not in fields
