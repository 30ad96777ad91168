"""The Redis vote log, on a real server."""

import contextlib
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import OperationalError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from polls.errors import LogInconsistent, LogUnsuitable
from polls.votelog.contract import VoteLog
from polls.votelog.entries import UNREADABLE, Head
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import (
    AGAIN,
    GENERATION,
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


@pytest.fixture
def log(redis_server: Redis) -> VoteLog:
    log = RedisVoteLog(redis_server.url(), prefix="test", partitions=3)
    make(log)
    return log


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

    def test_a_partition_of_the_claims_of_many_polls(self, log: VoteLog) -> None:
        for poll in range(1, 30):
            open_gate(log, poll=poll)
        batch = [ballot(by, poll=poll) for by in range(3) for poll in range(1, 30)]
        assert set(append(log, *batch)) == {NEW}
        assert all(log.find(new.poll_id, 1, new.voter_key) == new.ballot_id for new in batch)

    def test_positions_beyond_32_bits(self, redis_server: Redis) -> None:
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

    def test_it_knows_how_far_it_was_trimmed(self, redis_server: Redis) -> None:
        log = RedisVoteLog(redis_server.url(), prefix="trimmed", partitions=1)
        make(log, 100)
        open_gate(log)
        for first in (0, 10, 20):
            log.append([ballot(number) for number in range(first, first + 10)], known(log, 100))
        log.close(POLL, 1)
        # Whole blocks go: 101 to 110, to 120, to 130, and the marker at 131.
        for upto, trimmed in (
            (90, 100),
            (110, 110),
            (115, 110),
            (120, 120),
            (110, 120),
            (130, 130),
            (131, 131),
        ):
            log.trim(0, upto)
            head = log.heads()[0]
            assert (upto, head.trimmed) == (upto, trimmed)
            assert [head.trimmed_past(counted) for counted in (trimmed - 1, trimmed)] == [True, False]

    def test_it_loads_the_function_again_where_it_is_gone(self, log: VoteLog, redis_server: Redis) -> None:
        open_gate(log)
        with redis_server.client() as client:
            client.function_flush()
        assert append(log, *(ballot(number) for number in range(20))) == [NEW] * 20
        assert len(ballots(log)) == 20

    def test_it_replaces_the_function_of_another_release(self, log: VoteLog, redis_server: Redis) -> None:
        names = ("append", "find", "restore", "open", "close", "reset", "make")
        calls = (f"redis.register_function('landslide_{name}', function() return {{}} end)" for name in names)
        old = "\n".join(["#!lua name=landslide", *calls])
        with redis_server.client() as client:
            client.function_load(old, replace=True)
        started = RedisVoteLog(redis_server.url(), prefix="test", partitions=3)
        open_gate(started)
        assert append(started, ballot()) == [NEW]

    def test_it_goes_on_after_a_restart_of_redis(self, start_redis: Callable[..., Redis]) -> None:
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

    def test_a_memory_that_is_full_refuses_and_writes_nothing(
        self, start_redis: Callable[..., Redis]
    ) -> None:
        server = start_redis()
        log = RedisVoteLog(server.url(), prefix="test", partitions=3)
        make(log)
        open_gate(log)
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
            assert codes(append(log, *(ballot(number) for number in range(10)))) == ["unavailable"] * 10
            client.config_set("maxmemory", "0")
        assert append(log, *(ballot(number) for number in range(10))) == [NEW] * 10

    def test_it_is_trimmed_while_memory_is_full(self, start_redis: Callable[..., Redis]) -> None:
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

    def test_an_older_copy_that_is_not_behind_what_is_counted_is_refused(
        self, log: VoteLog, redis_server: Redis
    ) -> None:
        """By whoever has written more than it holds, whether or not the database knows of that."""
        open_gate(log)
        append(log, *(ballot(number) for number in range(30)))
        with redis_server.client() as client:
            for partition in range(3):
                client.hincrby(f"test:{{{partition}}}:head", "position", -1)
        refused = append(log, *(ballot(number) for number in range(30, 60)))
        assert codes(refused) == ["log_inconsistent"] * 30
        assert not any(head.continues(GENERATION, 0) for head in log.heads().values())
        other = RedisVoteLog(redis_server.url(), prefix="test", partitions=3)
        assert all(head.continues(GENERATION, 0) for head in other.heads().values())

    def test_an_older_copy_cannot_outgrow_what_it_lacks(
        self, start_redis: Callable[..., Redis], tmp_path: Path
    ) -> None:
        """A process that has written nothing since, and knows old checkpoints, asks before it appends."""
        server, counted = start_redis(), dict[int, Head]()

        def process() -> RedisVoteLog:
            return RedisVoteLog(server.url(), prefix="test", partitions=1, counted=lambda: counted)

        log, idle = process(), process()
        make(log)
        open_gate(log)
        append(log, *(ballot(number) for number in range(10)))
        append(idle, ballot(10))
        stale = log.heads()
        copy = shutil.copytree(server.folder, tmp_path / "copy")
        append(log, *(ballot(number) for number in range(11, 14)))
        counted.update(log.heads())
        server.kill()
        shutil.rmtree(server.folder)
        shutil.copytree(copy, server.folder)
        server.start()
        for _ in range(2):
            refused = idle.append([ballot(number) for number in range(20, 30)], stale)
            assert codes(refused) == ["log_inconsistent"] * 10
            with pytest.raises(LogInconsistent):
                idle.close(POLL, 1)
        assert idle.heads() == stale
        counted.update(stale)  # where none of what it lacks was counted, it is the log
        assert codes(idle.append([ballot(20)], stale)) == ["accepted"]

    def test_a_server_is_compared_with_the_database_once_a_start(
        self, start_redis: Callable[..., Redis]
    ) -> None:
        server, asked = start_redis(), list[int]()

        def process() -> RedisVoteLog:
            return RedisVoteLog(server.url(), prefix="test", partitions=2, counted=counted)

        def counted() -> dict[int, Head]:
            asked.append(1)
            return {n: Head(GENERATION, 0) for n in range(2)}

        log = process()
        make(log)
        open_gate(log)
        append(log, ballot(1))
        append(process(), ballot(2))
        assert asked == []
        server.kill()
        server.start()
        append(log, ballot(3))
        append(log, ballot(4))
        append(process(), *(ballot(number) for number in range(5, 20)))
        assert asked == [1]

    def test_nobody_vouches_for_a_server_that_started_anew_while_the_database_is_away(
        self, start_redis: Callable[..., Redis]
    ) -> None:
        server, away = start_redis(), True

        def counted() -> dict[int, Head]:
            if away:
                raise OperationalError("no database")
            return {n: Head(GENERATION, 0) for n in range(2)}

        def process() -> RedisVoteLog:
            return RedisVoteLog(server.url(), prefix="test", partitions=2, counted=counted)

        writer, idle = process(), process()
        away = False
        make(writer)
        open_gate(writer)
        append(writer, *(ballot(number) for number in range(10)))
        away = True
        server.kill()
        server.start()
        for log in (writer, idle):
            assert codes(append(log, ballot(10))) == ["unavailable"]
        assert len(ballots(writer)) == 10
        away = False
        assert append(idle, ballot(10)) == [NEW]

        away = True
        server.kill()
        server.start()
        with server.client() as client:
            for partition in range(2):
                client.hset(f"test:{{{partition}}}:head", "position", 1)
        # Who wrote what it lacks needs no database to tell.
        assert codes(append(writer, ballot(11))) == ["log_inconsistent"]
        assert codes(append(process(), ballot(11))) == ["unavailable"]
        assert len(ballots(writer)) == 11

    def test_what_another_thread_appends_during_a_look_makes_no_older_copy(
        self, log: VoteLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_gate(log)
        store = log._redis  # type: ignore[attr-defined]

        def pipeline(*args: Any, **options: Any) -> Any:
            """Its answer is in, but wasn't looked at, when 30 ballots come."""
            monkeypatch.undo()
            pipe = store.pipeline(*args, **options)
            ask = pipe.execute

            def execute() -> Any:
                answers = ask()
                append(log, *(ballot(number) for number in range(30)))
                return answers

            pipe.execute = execute
            return pipe

        monkeypatch.setattr(store, "pipeline", pipeline)
        heads = log.heads().values()
        assert [head.position for head in heads] == [0, 0, 0]
        assert all(head.continues(GENERATION, 0) for head in heads)

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
    def test_an_entry_that_makes_no_sense_stops_nothing(
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

    def test_an_error_in_the_middle_of_a_partition_speaks_for_no_other(
        self, log: VoteLog, redis_server: Redis
    ) -> None:
        """Its ballots may be in; the same ballots again settle it."""
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
    def test_a_store_that_refuses_one_call_of_several_speaks_for_its_ballots_only(
        self, log: VoteLog, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
    ) -> None:
        """As where the first call's ballots filled the memory."""
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

    @pytest.mark.parametrize(
        ("why", "code"),
        [
            ("inconsistent", "log_inconsistent"),
            ("database away", "unavailable"),
            ("Redis away", "outcome_unknown"),
        ],
    )
    def test_a_partition_that_nobody_vouches_for_speaks_for_no_other(
        self, redis_server: Redis, why: str, code: str
    ) -> None:
        """As after a failover of one node of a cluster: what the others have written stays acknowledged."""

        def counted() -> dict[int, Head]:
            if why == "inconsistent":
                return {n: Head(GENERATION, 5 if n == 0 else 0) for n in range(3)}
            raise OperationalError("gone") if why == "database away" else redis.ConnectionError("gone")

        prefix = uuid.uuid4().hex  # the server remembers which heads it has compared
        log = RedisVoteLog(redis_server.url(), prefix=prefix, partitions=3, counted=counted)
        with redis_server.client() as client:
            head: Any = {"generation": GENERATION, "position": 0, "format": "2"}
            client.hset(f"{prefix}:{{0}}:head", mapping=head)  # not made here: it has to be compared
        make(log)
        open_gate(log)
        batch = [ballot(number) for number in range(60)]
        outcomes = append(log, *batch)
        assert codes(outcomes) == ["accepted" if place_of(log, b) else code for b in batch]
        check_outcomes(log, batch, outcomes)


class Forgetful:
    """A way to Redis that once swallows an answer and hangs up: the call has run, and nobody knows."""

    def __init__(self, server: Redis) -> None:
        self._to = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.swallowed = 0
        self.swallow_next = False
        self.lets_through = 0.0  # of the answer that it swallows
        self.then: Callable[[], Any] = lambda: None  # before it hangs up
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)

    def _answer(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.swallow_next:
                    self.swallow_next = False
                    self.swallowed += 1
                    target.sendall(data[: int(len(data) * self.lets_through)])
                    self.then()
                    break
                target.sendall(data)
        except OSError:
            pass
        finally:
            # Shut, not only closed: the other thread waits in recv, which keeps a socket open.
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


class TestALostAnswer:
    @pytest.fixture
    def way(self, redis_server: Redis) -> Iterator[Forgetful]:
        way = Forgetful(redis_server)
        yield way
        way.close()

    @pytest.fixture
    def log(self, way: Forgetful) -> VoteLog:
        log = RedisVoteLog(way.url, prefix="test", partitions=3)
        make(log)
        return log

    @pytest.mark.parametrize("lets_through", [0.0, 0.4, 0.8])
    def test_repeating_an_append_doubles_nothing(
        self, log: VoteLog, way: Forgetful, lets_through: float
    ) -> None:
        """Also where the answers of some partitions came through."""
        way.lets_through = lets_through
        open_gate(log, revote=True)
        way.swallow_next = True
        outcomes = append(log, *(ballot(number) for number in range(30)))
        assert way.swallowed == 1
        assert codes(outcomes) == ["accepted"] * 30
        assert len(ballots(log)) == 30
        way.swallow_next = True
        changes = [ballot(number, number=2, selection="2", replaces=1) for number in range(30)]
        assert codes(append(log, *changes)) == ["accepted"] * 30
        assert way.swallowed == 2
        assert len(ballots(log)) == 60

    def test_a_repeated_append_that_is_refused_says_nothing_of_the_first(
        self, way: Forgetful, redis_server: Redis
    ) -> None:
        def counted() -> Any:
            raise OperationalError("gone")

        log = RedisVoteLog(way.url, prefix="test", partitions=3, counted=counted)
        make(log)
        open_gate(log)
        with redis_server.client() as client:

            def name_it(generation: str) -> None:
                for partition in range(3):
                    client.hset(f"test:{{{partition}}}:head", "generation", generation)

            meanwhile: list[Callable[[], Any]] = [
                lambda: client.config_set("maxmemory", "1mb"),
                lambda: name_it("ffffffff"),
                client.function_flush,  # so that the log has to be compared with what the database knows
            ]
            for start, way.then in zip((0, 30, 60), meanwhile, strict=True):
                way.swallow_next = True
                told = codes(append(log, *(ballot(number) for number in range(start, start + 30))))
                client.config_set("maxmemory", "0")
                name_it(GENERATION)
                assert told == ["outcome_unknown"] * 30
                assert len(ballots(log)) == start + 30
        assert way.swallowed == 3

    def test_a_repeated_append_to_a_backlog_that_it_filled_is_accepted(
        self, log: VoteLog, way: Forgetful, settings: Any
    ) -> None:
        settings.BACKLOG_LIMIT = 3
        open_gate(log)
        way.swallow_next = True
        assert codes(append(log, *(ballot(number) for number in range(30)))) == ["accepted"] * 30
        assert way.swallowed == 1

    def test_repeating_a_close_sets_one_marker(self, log: VoteLog, way: Forgetful) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(30)))
        way.swallow_next = True
        markers = log.close(POLL, 1)
        assert way.swallowed == 1
        assert len(markers) == 3
        assert log.close(POLL, 1) == markers
        assert sum(len(listed) for listed in entries(log).values()) == 33


class TestVerify:
    """A Redis that would lose acknowledged ballots is refused, with what to set."""

    def refusal(self, server: Redis) -> LogUnsuitable:
        with pytest.raises(LogUnsuitable) as caught:
            RedisVoteLog(server.url()).verify()
        return caught.value

    def test_it_takes_one_that_keeps_its_promises(self, redis_server: Redis) -> None:
        RedisVoteLog(redis_server.url()).verify()

    def test_it_refuses_one_without_an_append_only_file(self, start_redis: Callable[..., Redis]) -> None:
        refusal = self.refusal(start_redis(appendonly="no"))
        assert "append-only" in refusal.detail
        assert "CONFIG SET appendonly yes" in refusal.hint

    def test_it_refuses_everysec_unless_allowed(
        self, start_redis: Callable[..., Redis], settings: Any
    ) -> None:
        server = start_redis(appendfsync="everysec")
        refusal = self.refusal(server)
        assert "everysec" in refusal.detail
        assert "CONFIG SET appendfsync always" in refusal.hint
        settings.VOTE_LOG_DURABILITY = "everysec"
        RedisVoteLog(server.url()).verify()

    def test_it_never_takes_one_that_leaves_the_disk_to_the_system(
        self, start_redis: Callable[..., Redis], settings: Any
    ) -> None:
        settings.VOTE_LOG_DURABILITY = "everysec"
        assert "appendfsync is no" in self.refusal(start_redis(appendfsync="no")).detail

    def test_it_refuses_one_that_evicts(self, start_redis: Callable[..., Redis]) -> None:
        refusal = self.refusal(start_redis(maxmemory_policy="allkeys-lru"))
        assert "allkeys-lru" in refusal.detail
        assert "CONFIG SET maxmemory-policy noeviction" in refusal.hint
