"""Claims in Redis: small hashes that grow by linear hashing, without losing or duplicating a claim."""

import random
import uuid
from collections.abc import Callable, Iterable

import pytest
import redis

from polls.errors import LogInconsistent
from polls.votelog.admission import Gate, NewBallot, Outcome
from polls.votelog.entries import partition_of
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import (
    AGAIN,
    GENERATION,
    NEW,
    POLL,
    append,
    check_outcomes,
    codes,
    entries,
    known,
    make,
    open_gate,
)
from tests.servers import Redis

BUCKET = 96  # claims per hash on average, as in landslide.lua
PARTITIONS = 2


@pytest.fixture
def log(redis_server: Redis) -> RedisVoteLog:
    log = RedisVoteLog(redis_server.url(), prefix="test", partitions=PARTITIONS)
    make(log)
    return log


@pytest.fixture
def store(redis_server: Redis) -> Iterable[redis.Redis]:
    with redis_server.client() as client:
        yield client


def crowd(count: int, *, seed: int = 1, poll: int = POLL) -> list[NewBallot]:
    """First ballots of `count` voters, with evenly distributed keys."""
    chance = random.Random(seed)
    return [
        NewBallot(poll, chance.randbytes(16), chance.randbytes(16), str(1 + number % 3), round=1)
        for number in range(count)
    ]


def append_all(log: RedisVoteLog, ballots: list[NewBallot], at_once: int = 700) -> list[Outcome]:
    calls = [ballots[start : start + at_once] for start in range(0, len(ballots), at_once)]
    return [outcome for call in calls for outcome in append(log, *call)]


def found(log: RedisVoteLog, ballots: Iterable[NewBallot]) -> bool:
    return all(log.find(one.poll_id, 1, one.voter_key) == one.ballot_id for one in ballots)


def meta(store: redis.Redis, partition: int, poll: int = POLL) -> tuple[int, int]:
    """Return the Function's (claims, buckets) of a partition."""
    count, buckets = store.hmget(f"test:{{{partition}}}:claims:{poll}", ["count", "buckets"])  # type: ignore[misc]
    return int(count or 0), int(buckets or 1)


def buckets(store: redis.Redis, partition: int, poll: int = POLL) -> dict[int, dict[bytes, bytes]]:
    keys = store.scan_iter(f"test:{{{partition}}}:claims:{poll}:*", count=1000)
    return {int(key.rpartition(b":")[2]): store.hgetall(key) for key in keys}  # type: ignore[misc]


def check_buckets(store: redis.Redis, ballots: list[NewBallot], poll: int = POLL) -> None:
    """Check that each voter's claim exists once, and that there are enough buckets."""
    for partition in range(PARTITIONS):
        own = {
            one.voter_key[-8:]
            for one in ballots
            if partition_of(poll, one.voter_key, PARTITIONS) == partition
        }
        listed = [field for bucket in buckets(store, partition, poll).values() for field in bucket]
        assert len(listed) == len(own)
        assert set(listed) == own
        count, number = meta(store, partition, poll)
        assert count == len(own)
        assert number >= -(-count // BUCKET)
        assert all(0 <= n < number for n in buckets(store, partition, poll))


def test_claims_grow_by_splitting_and_none_is_lost(log: RedisVoteLog, store: redis.Redis) -> None:
    open_gate(log)
    ballots = crowd(2_500)
    for start in range(0, 2_500, 250):
        part = ballots[start : start + 250]
        assert set(append(log, *part)) == {NEW}
        check_buckets(store, ballots[: start + 250])
    assert found(log, ballots)
    assert all(meta(store, p)[1] == -(-meta(store, p)[0] // BUCKET) for p in range(PARTITIONS))
    assert set(append_all(log, ballots)) == {AGAIN}
    second = [NewBallot(POLL, one.voter_key, uuid.uuid4().bytes, "1") for one in ballots]
    assert set(codes(append_all(log, second))) == {"already_voted"}
    check_buckets(store, ballots)
    assert sum(len(listed) for listed in entries(log).values()) == 2_500


@pytest.mark.parametrize("at_once", [1, 95, 97, 2_500])
def test_claims_grow_the_same_in_batches_of_any_size(
    log: RedisVoteLog, store: redis.Redis, at_once: int
) -> None:
    open_gate(log)
    ballots = crowd(600 if at_once == 1 else 2_500)
    assert set(append_all(log, ballots, at_once)) == {NEW}
    check_buckets(store, ballots)
    assert set(append_all(log, ballots, 2_500)) == {AGAIN}


def test_voters_whose_claims_share_one_bucket_vote_once(log: RedisVoteLog, store: redis.Redis) -> None:
    """Uneven hashes make the log slower, never wrong."""
    open_gate(log)
    ballots = [
        NewBallot(POLL, bytes(8) + number.to_bytes(4, "big") + bytes(4), number.to_bytes(16, "big"), "1")
        for number in range(300)
    ]
    assert set(append_all(log, ballots)) == {NEW}
    check_buckets(store, ballots)
    assert set(append_all(log, ballots)) == {AGAIN}


@pytest.mark.parametrize(("expected", "each"), [(0, 1), (96, 1), (400, 3), (10_000, 53)])
def test_opening_makes_room_for_the_expected_voters(
    log: RedisVoteLog, store: redis.Redis, expected: int, each: int
) -> None:
    open_gate(log, expected=expected)
    assert [meta(store, partition) for partition in range(PARTITIONS)] == [(0, each)] * PARTITIONS
    ballots = crowd(1_000)
    assert set(append_all(log, ballots)) == {NEW}
    check_buckets(store, ballots)
    grown = [max(each, -(-meta(store, p)[0] // BUCKET)) for p in range(PARTITIONS)]
    assert [meta(store, p)[1] for p in range(PARTITIONS)] == grown
    assert set(append_all(log, ballots)) == {AGAIN}


def test_opening_again_with_other_expected_voters_loses_no_claim(
    log: RedisVoteLog, store: redis.Redis
) -> None:
    open_gate(log, expected=400)
    ballots = crowd(100)
    append(log, *ballots)
    open_gate(log, expected=100_000)
    assert set(append(log, *ballots)) == {AGAIN}
    log.close(POLL, 1)
    log.reset(POLL, 2)
    open_gate(log, round=2, expected=50_000)
    assert set(append(log, *ballots)) == {AGAIN}
    check_buckets(store, ballots)


def test_a_second_round_extends_claims_and_adds_none(log: RedisVoteLog, store: redis.Redis) -> None:
    open_gate(log)
    first = crowd(1_500)
    append_all(log, first)
    log.close(POLL, 1)
    open_gate(log, round=2)
    second = [NewBallot(POLL, one.voter_key, uuid.uuid4().bytes, "2", round=2) for one in first]
    assert set(append_all(log, second)) == {Outcome("accepted", 2)}
    check_buckets(store, first)
    assert set(append_all(log, first)) == {AGAIN}
    assert all(log.find(POLL, 2, one.voter_key) == one.ballot_id for one in second)


def test_restored_claims_equal_the_original_ones(log: RedisVoteLog, store: redis.Redis) -> None:
    ballots = crowd(2_500)
    for partition in range(PARTITIONS):
        own = [one for one in ballots if partition_of(POLL, one.voter_key, PARTITIONS) == partition]
        rows = [(POLL, 1, one.voter_key, one.ballot_id, one.selection) for one in own]
        log.rebuild(partition, known(log)[partition], {POLL: Gate(1, open=True)})
        for start in range(0, len(rows), 700):
            log.restore_claims(partition, rows[start : start + 700])
        log.restore_claims(partition, rows[:10])  # as after a lost reply
    check_buckets(store, ballots)
    assert found(log, ballots)
    assert set(append_all(log, ballots)) == {AGAIN}
    assert set(codes(append(log, NewBallot(POLL, ballots[0].voter_key, b"n" * 16, "1")))) == {"already_voted"}


@pytest.mark.slow
def test_a_counted_voter_takes_forty_bytes(start_redis: Callable[..., Redis]) -> None:
    server = start_redis(appendfsync="everysec")
    log = RedisVoteLog(server.url(), prefix="landslide", partitions=4)
    make(log)
    open_gate(log)
    ballots = crowd(50_000)
    assert set(append_all(log, ballots, 1_000)) == {NEW}
    for partition, head in log.heads().items():
        log.trim(partition, head.position)
    assert memory(server) / len(ballots) <= 40
    assert set(append_all(log, random.Random(2).sample(ballots, 5_000))) == {AGAIN}


def memory(server: Redis) -> int:
    """Return the bytes of all keys and values, without the server's buffers."""
    with server.client() as client:
        return sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter())  # type: ignore[misc]


# --- a log of another release ---


@pytest.mark.parametrize("written_as", [None, "1", "3"])
def test_a_log_in_another_format_is_refused(
    log: RedisVoteLog, store: redis.Redis, written_as: str | None
) -> None:
    open_gate(log)
    for partition in range(PARTITIONS):
        head = f"test:{{{partition}}}:head"
        store.hset(head, "format", written_as) if written_as else store.hdel(head, "format")
    keys = {key: store.dump(key) for key in store.keys("*")}  # type: ignore[union-attr]
    assert set(codes(append(log, *crowd(20)))) == {"log_inconsistent"}
    with pytest.raises(LogInconsistent):
        log.close(POLL, 1)
    assert {key: store.dump(key) for key in store.keys("*")} == keys  # type: ignore[union-attr]
    assert {head.generation for head in log.heads().values()} == {f"format {written_as or 1}"}
    assert GENERATION not in {log.head(partition).generation for partition in range(PARTITIONS)}  # type: ignore[union-attr]


# --- errors during an append ---


@pytest.mark.parametrize("broken", ["log", "claims:8:0", "claims:8", "gates"])
def test_an_error_during_an_append_leaves_log_and_head_consistent(
    log: RedisVoteLog, store: redis.Redis, broken: str
) -> None:
    """Ballots written before the error stay. A retry writes the others, and no ballot twice."""
    for poll in (7, 8, 9):
        open_gate(log, poll=poll)
    ballots = [one for poll in (7, 8, 9) for one in crowd(40, seed=poll, poll=poll)]
    spoil = f"test:{{0}}:{broken}"
    kept = store.dump(spoil)
    store.delete(spoil)
    store.set(spoil, "of another kind")
    outcomes = append(log, *ballots)
    assert "outcome_unknown" in codes(outcomes)
    store.delete(spoil)
    if kept:
        store.restore(spoil, 0, kept)  # type: ignore[arg-type]
    check_log(log)
    check_outcomes(log, ballots, outcomes)
    assert set(codes(append(log, *ballots))) == {"accepted"}
    check_log(log)
    voters = [e.voter_key for listed in entries(log).values() for e in listed]
    assert sorted(voters) == sorted(one.voter_key for one in ballots)
    assert set(append(log, *ballots)) == {AGAIN}


def test_an_error_while_a_bucket_is_split_loses_no_claim(log: RedisVoteLog, store: redis.Redis) -> None:
    open_gate(log)
    ballots = crowd(900)
    store.set("test:{0}:claims:7:3", "of another kind")  # the split into it fails; earlier splits succeed
    assert set(codes(append(log, *ballots))) == {"accepted", "outcome_unknown"}
    store.delete("test:{0}:claims:7:3")
    check_log(log)
    assert found(log, ballots)
    assert set(append(log, *ballots)) == {AGAIN}
    more = crowd(900, seed=2)
    assert set(append(log, *more)) == {NEW}
    check_buckets(store, [*ballots, *more])


def check_log(log: RedisVoteLog) -> None:
    heads = log.heads()
    for partition, listed in entries(log).items():
        assert [entry.position for entry in listed] == list(range(1, heads[partition].position + 1))


# --- the contents of a call ---


def test_a_nil_uuid_is_a_ballot_id_like_any_other(log: RedisVoteLog) -> None:
    """It may also be the id of a ballot to replace: a nil UUID doesn't stand for "replaces nothing"."""
    open_gate(log, revote=True)
    nil, other, third = bytes(16), b"o" * 16, b"t" * 16
    voter = b"v" * 16

    def cast(ballot_id: bytes, replaces: bytes | None = None) -> Outcome:
        return append(log, NewBallot(POLL, voter, ballot_id, "1", replaces=replaces))[0]

    assert cast(nil) == NEW
    assert cast(nil) == AGAIN
    assert cast(other).code == "already_voted"
    assert cast(other, b"x" * 16).code == "already_voted"
    assert cast(other, nil) == NEW
    assert cast(third, nil).code == "already_voted"
    assert cast(third, other) == NEW
    replaced = [e.replaces for listed in entries(log).values() for e in listed]
    assert replaced == [None, nil, other]


def test_an_entry_has_columns_of_accepted_ballots_only(log: RedisVoteLog) -> None:
    """One call accepts, repeats and refuses ballots of several polls. Their columns stay separate."""
    for poll in (7, 8):
        open_gate(log, poll=poll, revote=True)
    append(log, *crowd(60)[:30], *crowd(60, seed=8, poll=8)[:30])
    changes = [
        NewBallot(POLL, one.voter_key, bytes([number]) * 16, "2,3", 1, one.ballot_id if number % 2 else None)
        for number, one in enumerate(crowd(60)[:30])
    ]
    late = [
        NewBallot(8, one.voter_key, one.ballot_id, "9", round=4) for one in crowd(90, seed=8, poll=8)[60:]
    ]
    closed = crowd(10, seed=9, poll=9)
    call = [*crowd(60), *changes, *late, *crowd(60, seed=8, poll=8), *closed]
    random.Random(3).shuffle(call)
    first = {one.ballot_id for one in [*crowd(60)[:30], *crowd(60, seed=8, poll=8)[:30]]}
    refused = {one.ballot_id: "already_voted" for one in changes[::2]}
    refused |= {one.ballot_id: "round_changed" for one in late}
    refused |= {one.ballot_id: "poll_not_open" for one in closed}
    outcomes = append(log, *call)
    for one, outcome in zip(call, outcomes, strict=True):
        assert outcome.code == refused.get(one.ballot_id, "accepted")
        assert outcome.repeated == (one.ballot_id in first)
    written = {e.ballot_id: e for listed in entries(log).values() for e in listed}
    assert written.keys() == {one.ballot_id for one in call} - refused.keys()
    for one in call:
        if entry := written.get(one.ballot_id):
            assert (entry.poll_id, entry.voter_key, entry.selection, entry.round, entry.replaces) == (
                *(one.poll_id, one.voter_key, one.selection, 1),
                one.replaces,
            )


def test_reading_from_within_blocks_skips_and_repeats_nothing(log: RedisVoteLog) -> None:
    open_gate(log)
    ballots, chance = crowd(800), random.Random(4)
    while ballots:
        size = chance.choice([1, 1, 2, 5, 40, 100])
        append(log, *ballots[:size])
        ballots = ballots[size:]
    log.close(POLL, 1)
    for partition, whole in entries(log).items():
        for _ in range(60):
            after, limit = chance.randrange(len(whole) + 1), chance.choice([1, 2, 10, 33, 200, 5_000])
            read = [e for block in log.read(partition, after, limit) for e in block.entries()]
            assert read == whole[after : after + len(read)]
            assert len(read) >= min(limit, len(whole) - after)
        position, seen = 0, []
        while blocks := log.read(partition, position, chance.choice([1, 3, 50])):
            for block in blocks:
                assert block.first == position + 1
                position = block.last
                seen += block.entries()
        assert seen == whole
