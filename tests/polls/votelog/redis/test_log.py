"""The Redis vote log, on a real server."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from polls.votelog.contract import VoteLog
from polls.votelog.entries import UNREADABLE
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import (
    AGAIN,
    NEW,
    POLL,
    VoteLogContract,
    append,
    ballot,
    ballots,
    check_outcomes,
    codes,
    entries,
    known,
    make,
    open_gate,
    place_of,
    read,
)
from tests.servers import Redis


class TestRedisVoteLog(VoteLogContract):
    @pytest.fixture
    def store_now(self, redis_server: Redis) -> Callable[[], int]:
        def now() -> int:
            with redis_server.client() as client:
                seconds, microseconds = client.time()  # type: ignore[misc]
                return int(seconds) * 1000 + int(microseconds) // 1000

        return now

    def test_all_keys_of_a_partition_share_its_hash_tag(self, log: VoteLog, redis_server: Redis) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(40)))
        with redis_server.client() as client:
            keys = {key.decode() for key in client.keys("*")}  # type: ignore[union-attr]
        kinds = ["log", "head", "gates", f"claims:{POLL}", f"claims:{POLL}:0"]
        assert keys == {f"test:{{{partition}}}:{kind}" for partition in range(3) for kind in kinds}

    def test_a_partition_holds_the_claims_of_many_polls(self, log: VoteLog) -> None:
        for poll in range(1, 30):
            open_gate(log, poll=poll)
        batch = [ballot(by, poll=poll) for by in range(3) for poll in range(1, 30)]
        assert set(append(log, *batch)) == {NEW}
        assert all(log.find(new.poll_id, 1, new.voter_key) == new.ballot_id for new in batch)

    def test_positions_may_exceed_32_bits(self, redis_server: Redis) -> None:
        log = RedisVoteLog(redis_server.url(), prefix="far", partitions=2)
        start = 2**52
        make(log, start)
        open_gate(log)
        log.append([ballot(number) for number in range(20)], known(log, start))
        markers = log.close(POLL, 1)
        assert [marker.position for marker in markers] == [head.position for head in log.heads().values()]
        for partition, listed in entries(log).items():
            assert [e.position for e in listed] == list(range(start + 1, start + 1 + len(listed)))
            assert read(log, partition, start + 1, 1)[:1] == listed[1:2]
            log.trim(partition, start + len(listed) - 1)  # all but the marker
            assert read(log, partition, start, 100) == listed[-1:]

    def test_a_missing_function_is_loaded_again(self, log: VoteLog, redis_server: Redis) -> None:
        open_gate(log)
        with redis_server.client() as client:
            client.function_flush()
        assert append(log, *(ballot(number) for number in range(20))) == [NEW] * 20
        assert len(ballots(log)) == 20

    def test_the_function_of_another_release_is_replaced(self, log: VoteLog, redis_server: Redis) -> None:
        names = ("append", "find", "restore", "open", "close", "reset", "make")
        calls = (f"redis.register_function('landslide_{name}', function() return {{}} end)" for name in names)
        old = "\n".join(["#!lua name=landslide", *calls])
        with redis_server.client() as client:
            client.function_load(old, replace=True)
        started = RedisVoteLog(redis_server.url(), prefix="test", partitions=3)
        open_gate(started)
        assert append(started, ballot()) == [NEW]

    def test_the_log_works_again_after_a_restart_of_redis(self, start_redis: Callable[..., Redis]) -> None:
        server = start_redis()
        log = RedisVoteLog(server.url(), prefix="test", partitions=3)
        make(log)
        open_gate(log)
        append(log, *(ballot(number) for number in range(10)))
        server.kill()
        with pytest.raises(redis.RedisError):
            append(log, *(ballot(number) for number in range(20)))
        server.start()
        outcomes = append(log, *(ballot(number) for number in range(20)))
        assert outcomes == [AGAIN] * 10 + [NEW] * 10
        assert len(ballots(log)) == 20

    def test_a_full_memory_refuses_and_writes_nothing(self, start_redis: Callable[..., Redis]) -> None:
        server = start_redis()
        log = RedisVoteLog(server.url(), prefix="test", partitions=3)
        make(log)
        open_gate(log)
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
            assert codes(append(log, *(ballot(number) for number in range(10)))) == ["unavailable"] * 10
            client.config_set("maxmemory", "0")
        assert append(log, *(ballot(number) for number in range(10))) == [NEW] * 10

    def test_trimming_works_while_memory_is_full(self, start_redis: Callable[..., Redis]) -> None:
        server = start_redis()
        log = RedisVoteLog(server.url(), prefix="test", partitions=1)
        make(log)
        open_gate(log)
        append(log, *(ballot(number) for number in range(10)))
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
            assert codes(append(log, ballot(10))) == ["unavailable"]
            log.trim(0, 10)
            assert ballots(log) == []
            client.config_set("maxmemory", "0")

    @pytest.mark.parametrize(
        "changes",
        [
            {"s": b"\xc1 rubbish"},
            {"s": b""},
            {"i": b"\x99\x99"},
            {"i": b"\0"},
            {"v": b"short"},
            {"x": b"neither nor"},
            {"p": b"nine"},
            {"n": b"-1"},
            {"n": b""},
            {"q": b"\xff"},
        ],
        ids=repr,
    )
    def test_a_damaged_entry_does_not_stop_reading(
        self, log: VoteLog, redis_server: Redis, changes: dict[str, bytes]
    ) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(6)))
        end = log.heads()[0].position
        sound = {b"p": b"7", b"r": b"1", b"t": b"1", b"n": b"1", b"v": bytes(16), b"b": bytes(16)}
        fields = sound | {b"i": b"\0\1", b"s": b"\x91\xa11", b"x": b""}
        rubbish = fields | {name.encode(): value for name, value in changes.items()}
        with redis_server.client() as client:
            client.xadd("test:{0}:log", fields, id=f"{end + 1}-0")  # type: ignore[arg-type]
            client.xadd("test:{0}:log", rubbish, id=f"{end + 2}-0")  # type: ignore[arg-type]
            client.xadd("test:{0}:log", fields, id=f"{end + 3}-0")  # type: ignore[arg-type]
        found = read(log, 0, end, 100)
        assert [entry.position for entry in found] == [end + 1, end + 2, end + 3]
        assert [entry.selection for entry in found] == ["1", UNREADABLE, "1"]

    def test_an_error_in_a_partition_affects_no_other(self, log: VoteLog, redis_server: Redis) -> None:
        """The outcomes of that partition's ballots are unknown until a retry."""
        open_gate(log)
        batch = [ballot(number) for number in range(30)]
        with redis_server.client() as client:
            client.set("test:{1}:log", "no stream")
            outcomes = append(log, *batch)
            client.delete("test:{1}:log")
        assert codes(outcomes) == ["outcome_unknown" if place_of(log, b) == 1 else "accepted" for b in batch]
        assert set(codes(append(log, *batch))) == {"accepted"}
        assert len(ballots(log)) == 30
        for listed in entries(log).values():
            assert [entry.position for entry in listed] == list(range(1, len(listed) + 1))

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "unavailable"),
            (ReadOnlyError("You can't write against a read only replica."), "unavailable"),
            (ResponseError("MISCONF Errors writing to the AOF file: No space left"), "unavailable"),
            (ResponseError("BUSY Redis is busy running a script."), "outcome_unknown"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_a_refused_call_affects_its_own_ballots_only(
        self, log: VoteLog, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
    ) -> None:
        """One partition's call fails, as if the ballots of the other calls had filled the memory."""
        open_gate(log)
        batch = [ballot(number) for number in range(30)]
        last = place_of(log, next(b for b in reversed(batch) if place_of(log, b) != place_of(log, batch[0])))
        functions = log._functions  # type: ignore[attr-defined]
        send = functions.send

        def refuse_one(calls: Any) -> Any:
            through = [call for call in calls if call[1][0] != f"test:{{{last}}}:log"]
            answers, lost = send(through)
            left = iter(answers)
            return [next(left) if call in through else error for call in calls], lost

        monkeypatch.setattr(functions, "send", refuse_one)
        outcomes = append(log, *batch)
        monkeypatch.undo()
        assert codes(outcomes) == [code if place_of(log, b) == last else "accepted" for b in batch]
        check_outcomes(log, batch, outcomes)
