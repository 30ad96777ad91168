"""The vote log in Redis Streams: N partitions, decided and appended by one Redis Function.

All keys of a partition carry its hash tag, so that Redis Cluster can spread partitions:

    <prefix>:{n}:log     the stream; an entry's ID is "<position>-0", our own counter
    <prefix>:{n}:head    hash: generation, position
    <prefix>:{n}:gates   hash: poll_id -> Gate.pack()
    <prefix>:{n}:claims:<poll_id>  hash: voter_key -> pack_claim()

A flush is one pipeline with one Function call per touched partition. redis-py repeats a
call whose reply was lost, and the Function may so run twice: the claim on (voter,
ballot_id), written in the same call, makes the second run answer the same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.utils.translation import gettext as _
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from polls.errors import LogInconsistent, LogUnsuitable

from .base import (
    REMEMBERED_BALLOTS,
    Claimed,
    Entry,
    Gate,
    Head,
    Marker,
    NewBallot,
    Outcome,
    digest_of,
    pack_claim,
    partition_of,
    unpack_claim,
)

_LIBRARY = Path(__file__).with_name("landslide.lua")
_SCAN = 1000


class RedisVoteLog:
    name = "redis"

    def __init__(self, url: str = "", prefix: str = "", partitions: int = 0) -> None:
        self.partitions = partitions or settings.VOTE_LOG_PARTITIONS
        self._prefix = prefix or settings.VOTE_LOG_PREFIX
        self._loaded = False
        self._redis = redis.Redis.from_url(
            url or settings.VOTE_LOG_REDIS_URL,
            protocol=3,
            socket_timeout=4,
            socket_connect_timeout=2,
            socket_keepalive=True,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(base=0.02, cap=0.2), 2),
        )

    def append(self, ballots: Sequence[NewBallot], expected: Mapping[int, Head]) -> list[Outcome]:
        touched: dict[int, list[int]] = defaultdict(list)
        for index, ballot in enumerate(ballots):
            touched[partition_of(ballot.poll_id, ballot.voter_key, self.partitions)].append(index)
        calls = []
        for partition, indexes in touched.items():
            head = expected.get(partition)
            if head is None:
                raise LogInconsistent()
            polls: dict[int, int] = {}
            args: list[Any] = [head.generation, head.position, REMEMBERED_BALLOTS]
            for index in indexes:
                ballot = ballots[index]
                args += (
                    polls.setdefault(ballot.poll_id, len(polls)),
                    ballot.poll_id,
                    ballot.round or 0,
                    ballot.voter_key,
                    ballot.ballot_id,
                    digest_of(ballot.selection),
                    ballot.selection,
                    ballot.replaces or b"",
                )
            keys = [*self._keys(partition), *(self._claims_key(partition, poll_id) for poll_id in polls)]
            calls.append(("landslide_append", keys, args))

        outcomes: list[Outcome] = [Outcome("outcome_unknown")] * len(ballots)
        for indexes, verdicts in zip(touched.values(), self._call(calls), strict=True):
            for index, verdict in zip(indexes, verdicts, strict=True):
                outcomes[index] = _outcome(verdict)
        return outcomes

    def read(self, partition: int, after: int, limit: int) -> list[Entry]:
        rows: Any = self._redis.xrange(self._keys(partition)[0], min=f"({after}-0", count=limit)
        return [_entry(entry_id, dict(fields)) for entry_id, fields in rows]

    def trim(self, partition: int, upto: int) -> None:
        # MINID, never MAXLEN: a length would evict what isn't counted yet. Exact, since an entry
        # tells in what order people voted: it goes when it is no longer needed.
        self._redis.xtrim(self._keys(partition)[0], minid=f"{upto + 1}-0", approximate=False)

    def heads(self) -> dict[int, Head]:
        pipe = self._redis.pipeline(transaction=False)
        for partition in range(self.partitions):
            pipe.hmget(self._keys(partition)[1], "generation", "position")
        return {
            partition: Head(generation.decode(), int(position))
            for partition, (generation, position) in enumerate(pipe.execute())
            if generation is not None
        }

    def find(self, poll_id: int, round: int, voter_key: bytes) -> bytes | None:
        partition = partition_of(poll_id, voter_key, self.partitions)
        record: Any = self._redis.hget(self._claims_key(partition, poll_id), voter_key)
        claimed = unpack_claim(record or b"")
        return next((c.ballot_id for c in reversed(claimed) if c.round == round), None)

    def open(self, poll_id: int, gate: Gate) -> None:
        self._each("landslide_open", poll_id, gate.round, gate.pack())

    def close(self, poll_id: int, round: int) -> list[Marker]:
        replies = self._each("landslide_close", poll_id, round)
        return [
            Marker(partition, int(reply[0]), int(reply[1]))
            for partition, reply in enumerate(replies)
            if reply is not None and len(reply)
        ]

    def reset(self, poll_id: int, round: int) -> None:
        self._each("landslide_reset", poll_id, round, Gate(round).pack())

    def make(self, partition: int, head: Head) -> None:
        self._call([("landslide_make", self._keys(partition), [head.generation, head.position])])

    def rebuild(self, partition: int, head: Head, gates: Mapping[int, Gate]) -> None:
        log, head_key, gates_key = self._keys(partition)
        pipe = self._redis.pipeline(transaction=True)
        pipe.unlink(log, head_key, gates_key)
        if gates:
            pipe.hset(gates_key, mapping={str(poll_id): gate.pack() for poll_id, gate in gates.items()})
        pipe.hset(head_key, mapping={"generation": head.generation, "position": head.position})
        pipe.execute()
        # The new generation first: from here on nobody who knows the old one appends.
        for key in self._redis.scan_iter(match=f"{log[:-4]}:claims:*", count=_SCAN):
            self._redis.unlink(key)

    def restore_claims(self, partition: int, claims: Iterable[tuple[int, int, bytes, bytes, str]]) -> None:
        known: dict[tuple[int, bytes], list[Claimed]] = defaultdict(list)
        for poll_id, round_, voter_key, ballot_id, selection in claims:
            known[(poll_id, voter_key)].append(Claimed(round_, ballot_id, digest_of(selection)))
        voters = list(known)
        pipe = self._redis.pipeline(transaction=False)
        for poll_id, voter_key in voters:
            pipe.hget(self._claims_key(partition, poll_id), voter_key)
        records = pipe.execute() if voters else []
        pipe = self._redis.pipeline(transaction=False)
        for (poll_id, voter_key), record in zip(voters, records, strict=True):
            claimed = unpack_claim(record or b"") + known[(poll_id, voter_key)]
            pipe.hset(self._claims_key(partition, poll_id), voter_key, pack_claim(claimed))
        pipe.execute()

    def verify(self) -> None:
        info: dict[str, Any] = self._redis.info()
        if int(str(info["redis_version"]).split(".")[0]) < 7:
            raise LogUnsuitable(
                _("Redis %(version)s has no Functions; the vote log needs 7.0 or later.")
                % {"version": info["redis_version"]}
            )
        if not info.get("aof_enabled"):
            raise LogUnsuitable(
                _("Redis keeps no append-only file, so a restart would lose acknowledged ballots."),
                hint="redis-cli CONFIG SET appendonly yes && redis-cli CONFIG SET appendfsync always",
            )
        self._verify_config(
            "maxmemory-policy", {"noeviction"}, _("Redis may evict ballots when memory is short")
        )
        allowed = {"always", "everysec"} if settings.VOTE_LOG_DURABILITY == "everysec" else {"always"}
        self._verify_config(
            "appendfsync",
            allowed,
            _("Redis doesn't write a ballot to disk before it is acknowledged"),
            _(" (or set VOTE_LOG_DURABILITY=everysec and accept to lose a second of ballots in a power cut)"),
        )

    def _verify_config(self, name: str, allowed: set[str], trouble: str, otherwise: str = "") -> None:
        try:
            value = self._redis.config_get(name).get(name)
        except redis.ResponseError:
            # Managed services forbid CONFIG; then this can't be looked up, only promised by the operator.
            return
        if value not in allowed:
            raise LogUnsuitable(
                f"{trouble}: {name} is {value}.",
                hint=f"redis-cli CONFIG SET {name} {min(allowed)}{otherwise}",
            )

    def _keys(self, partition: int) -> list[str]:
        tag = f"{self._prefix}:{{{partition}}}"
        return [f"{tag}:log", f"{tag}:head", f"{tag}:gates"]

    def _claims_key(self, partition: int, poll_id: int) -> str:
        return f"{self._prefix}:{{{partition}}}:claims:{poll_id}"

    def _each(self, function: str, *args: Any) -> list[Any]:
        """Call a Function on every partition, in one round trip."""
        return self._call([(function, self._keys(p), list(args)) for p in range(self.partitions)])

    def _call(self, calls: list[tuple[str, list[str], list[Any]]]) -> list[Any]:
        if not self._loaded:
            # Once a process: the Redis may be new, or hold the library of an earlier release.
            self._load()
        for attempt in (1, 2):
            pipe = self._redis.pipeline(transaction=False)
            for function, keys, args in calls:
                pipe.fcall(function, len(keys), *keys, *args)
            replies = pipe.execute(raise_on_error=False)
            missing = [r for r in replies if isinstance(r, Exception) and "Function not found" in str(r)]
            if missing and attempt == 1:
                # An emptied Redis, or another. Repeating the flush is harmless: see the module's docstring.
                self._load()
                continue
            for reply in replies:
                if isinstance(reply, Exception):
                    if re.search(r"\bINCONSISTENT\b", str(reply)):
                        raise LogInconsistent()
                    raise reply
            return replies
        raise AssertionError("unreachable")

    def _load(self) -> None:
        self._redis.function_load(_LIBRARY.read_text(), replace=True)
        self._loaded = True


def _outcome(verdict: Any) -> Outcome:
    """The Function answers "<code>|<round>|<repeated>"."""
    code, round_, repeated = bytes(verdict).decode().split("|")
    return Outcome(code, int(round_), repeated == "1")


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    position = int(entry_id.partition(b"-")[0])
    if b"c" in fields:
        return Entry(position, "close", int(fields[b"p"]), int(fields[b"r"]), int(fields[b"c"]))
    return Entry(
        position,
        "ballot",
        int(fields[b"p"]),
        int(fields[b"r"]),
        int(fields[b"t"]),
        fields[b"v"],
        fields[b"b"],
        fields[b"s"].decode(errors="replace"),  # the floor above sets aside what it can't read
        fields[b"x"] or None,
    )
