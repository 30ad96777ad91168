"""The decision on a ballot is implemented in Python and in Lua: both must agree."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polls.votelog.admission import (
    ACCEPTED,
    REMEMBERED_BALLOTS,
    Claimed,
    Gate,
    NewBallot,
    Outcome,
    decide,
    digest_of,
    pack_claim,
    unpack_claim,
)
from polls.votelog.entries import Head, entries_of
from polls.votelog.redis.log import RedisVoteLog
from tests.servers import Redis

POLL, VOTER = 5, b"v" * 16
PAST, FUTURE = 1_000, 4_000_000_000_000
NOW = 2_000_000_000_000  # any time between PAST and FUTURE
PREFIX = "decide"

rounds = st.sampled_from([1, 2, 3, 255, 256, 32_767])
ids = st.integers(0, 5).map(lambda n: bytes([n]) * 16)
selections = st.sampled_from(["1", "2", "1,2", "99"])
bounds = st.sampled_from([0, PAST, FUTURE])
gates = st.one_of(
    st.none(),
    st.builds(Gate, rounds, st.booleans(), st.booleans(), bounds, bounds, st.sampled_from([0, PAST])),
)
claimed = st.lists(
    st.builds(Claimed, rounds, ids, selections.map(digest_of)),
    max_size=4,
    unique_by=lambda claim: claim.ballot_id,
)
ballots = st.builds(
    NewBallot,
    st.just(POLL),
    st.just(VOTER),
    ids,
    selections,
    st.one_of(st.none(), rounds),
    st.one_of(st.none(), ids),
)


def decided(
    gate: Gate | None, known: Sequence[Claimed], batch: Sequence[NewBallot]
) -> tuple[list[Outcome], list[Claimed], list[bytes | None]]:
    """Apply `decide`. Return the outcomes, the resulting claim, and what each new entry replaces."""
    known = list(known)
    outcomes, replaced = [], []
    for ballot in batch:
        outcome = decide(gate, known, ballot, NOW)
        outcomes.append(outcome)
        if outcome.code == ACCEPTED and not outcome.repeated:
            current = next((c.ballot_id for c in reversed(known) if c.round == outcome.round), None)
            replaced.append(current)
            known.append(Claimed(outcome.round, ballot.ballot_id, digest_of(ballot.selection)))
            known = known[-REMEMBERED_BALLOTS:]
    return outcomes, known, replaced


class InRedis:
    """One voter's claim and one poll's gate, set and read directly in Redis."""

    def __init__(self, server: Redis) -> None:
        self.log = RedisVoteLog(server.url(), prefix=PREFIX, partitions=1)
        self.client: redis.Redis = server.client()
        self.tag = f"{PREFIX}:{{0}}"

    def run(
        self, gate: Gate | None, known: Sequence[Claimed], batch: Sequence[NewBallot]
    ) -> tuple[list[Outcome], list[Claimed], list[bytes | None]]:
        pipe: Any = self.client.pipeline()
        claims = f"claims:{POLL}"
        self.log._heads.written.clear()  # so that it counts as a new log, not as an older copy
        pipe.delete(*(f"{self.tag}:{kind}" for kind in ("log", "head", "gates", claims, f"{claims}:0")))
        pipe.hset(f"{self.tag}:head", mapping={"generation": "g", "position": 0, "format": "2"})
        if gate:
            pipe.hset(f"{self.tag}:gates", str(POLL), gate.pack())
        if known:
            pipe.hset(f"{self.tag}:claims:{POLL}:0", VOTER[-8:], pack_claim(known))
        pipe.execute()
        outcomes = self.log.append(batch, {0: Head("g", 0)})
        record: Any = self.client.hget(f"{self.tag}:claims:{POLL}:0", VOTER[-8:])  # type: ignore[arg-type]
        return (
            outcomes,
            unpack_claim(record or b""),
            [entry.replaces for entry in entries_of(self.log.read(0, 0, 1000))],
        )


@pytest.fixture
def in_redis(redis_server: Redis) -> Iterator[InRedis]:
    place = InRedis(redis_server)
    yield place
    place.client.close()


def revotes(count: int) -> list[NewBallot]:
    numbered = [number.to_bytes(16, "big") for number in range(count)]
    return [
        NewBallot(POLL, VOTER, ballot_id, "1", 1, replaces)
        for ballot_id, replaces in zip(numbered, [None, *numbered], strict=False)
    ]


@settings(max_examples=200)
@given(gate=gates, known=claimed, batch=st.lists(ballots, min_size=1, max_size=6))
@example(gate=Gate(1, open=True, revote=True), known=[], batch=revotes(REMEMBERED_BALLOTS + 4))
@example(gate=Gate(32_767, open=True, closes_at=FUTURE), known=[], batch=revotes(2))
def test_the_function_decides_as_python_does(
    in_redis: InRedis, gate: Gate | None, known: list[Claimed], batch: list[NewBallot]
) -> None:
    assert in_redis.run(gate, known, batch) == decided(gate, known, batch)


@given(gates.filter(bool))
def test_a_gate_survives_packing(gate: Gate) -> None:
    assert Gate.unpack(gate.pack()) == gate


@given(claimed)
def test_a_claim_survives_packing(known: list[Claimed]) -> None:
    assert unpack_claim(pack_claim(known)) == known
