"""Recognising the log that this process and the database know, and refusing older copies of it."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import OperationalError

from polls.errors import LogInconsistent
from polls.votelog.contract import VoteLog
from polls.votelog.entries import Head
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import (
    GENERATION,
    NEW,
    POLL,
    append,
    ballot,
    ballots,
    check_outcomes,
    codes,
    known,
    make,
    open_gate,
    place_of,
)
from tests.servers import Redis


class TestHeads:
    def test_the_head_says_how_far_the_log_was_trimmed(self, redis_server: Redis) -> None:
        log = RedisVoteLog(redis_server.url(), prefix="trimmed", partitions=1)
        make(log, 100)
        open_gate(log)
        for first in (0, 10, 20):
            log.append([ballot(number) for number in range(first, first + 10)], known(log, 100))
        log.close(POLL, 1)
        # Whole blocks are deleted: up to 110, 120, 130, and the marker at 131.
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

    def test_a_process_refuses_a_log_that_lacks_what_it_has_written(
        self, log: VoteLog, redis_server: Redis
    ) -> None:
        """The process refuses it even if the database hasn't counted the missing entries yet."""
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

    def test_an_older_copy_is_refused_before_it_grows(
        self, start_redis: Callable[..., Redis], tmp_path: Path
    ) -> None:
        """A process that hasn't written for a while compares the copy with the database before it appends."""
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
        counted.update(stale)  # the copy is accepted if no missing entry was counted
        assert codes(idle.append([ballot(20)], stale)) == ["accepted"]

    def test_the_log_is_compared_with_the_database_once_per_start(
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

    def test_a_restarted_redis_accepts_nothing_while_the_database_is_down(
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
        # The process that wrote the missing entries needs no database to notice.
        assert codes(append(writer, ballot(11))) == ["log_inconsistent"]
        assert codes(append(process(), ballot(11))) == ["unavailable"]
        assert len(ballots(writer)) == 11

    def test_appends_while_heads_are_read_do_not_look_like_an_older_copy(
        self, log: VoteLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_gate(log)
        store = log._redis  # type: ignore[attr-defined]

        def pipeline(*args: Any, **options: Any) -> Any:
            """30 ballots are appended after the reply was received, before it is used."""
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
        ("why", "code"),
        [
            ("inconsistent", "log_inconsistent"),
            ("database away", "unavailable"),
            ("Redis away", "outcome_unknown"),
        ],
    )
    def test_a_partition_that_can_not_be_compared_affects_no_other(
        self, redis_server: Redis, why: str, code: str
    ) -> None:
        """This is like a failover of one node of a cluster: ballots on other nodes are still accepted."""

        def counted() -> dict[int, Head]:
            if why == "inconsistent":
                return {n: Head(GENERATION, 5 if n == 0 else 0) for n in range(3)}
            raise OperationalError("gone") if why == "database away" else redis.ConnectionError("gone")

        prefix = uuid.uuid4().hex  # a new log: the Function remembers compared heads
        log = RedisVoteLog(redis_server.url(), prefix=prefix, partitions=3, counted=counted)
        with redis_server.client() as client:
            head: Any = {"generation": GENERATION, "position": 0, "format": "2"}
            # Set here and not by `make`, so that this head still has to be compared.
            client.hset(f"{prefix}:{{0}}:head", mapping=head)
        make(log)
        open_gate(log)
        batch = [ballot(number) for number in range(60)]
        outcomes = append(log, *batch)
        assert codes(outcomes) == ["accepted" if place_of(log, b) else code for b in batch]
        check_outcomes(log, batch, outcomes)
