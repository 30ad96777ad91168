"""Calls of the Redis Function whose replies get lost."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError

from polls.votelog.contract import VoteLog
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import (
    GENERATION,
    POLL,
    append,
    ballot,
    ballots,
    codes,
    entries,
    make,
    open_gate,
)
from tests.servers import Redis


class LossyConnection:
    """A proxy to Redis that loses a reply and closes the connection, after the call has run."""

    def __init__(self, server: Redis) -> None:
        self._to = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.lost = 0
        self.lose_next = False
        self.lets_through = 0.0  # the share of the lost reply that still arrives
        self.then: Callable[[], Any] = lambda: None  # called before the connection is closed
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
                if self.lose_next:
                    self.lose_next = False
                    self.lost += 1
                    target.sendall(data[: int(len(data) * self.lets_through)])
                    self.then()
                    break
                target.sendall(data)
        except OSError:
            pass
        finally:
            # Shut down, not only closed: the other thread blocks in recv, which keeps the socket open.
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


class TestLostReply:
    @pytest.fixture
    def way(self, redis_server: Redis) -> Iterator[LossyConnection]:
        way = LossyConnection(redis_server)
        yield way
        way.close()

    @pytest.fixture
    def log(self, way: LossyConnection) -> VoteLog:
        log = RedisVoteLog(way.url, prefix="test", partitions=3)
        make(log)
        return log

    @pytest.mark.parametrize("lets_through", [0.0, 0.4, 0.8])
    def test_repeating_an_append_duplicates_nothing(
        self, log: VoteLog, way: LossyConnection, lets_through: float
    ) -> None:
        """This holds even if the replies of some partitions arrived."""
        way.lets_through = lets_through
        open_gate(log, revote=True)
        way.lose_next = True
        outcomes = append(log, *(ballot(number) for number in range(30)))
        assert way.lost == 1
        assert codes(outcomes) == ["accepted"] * 30
        assert len(ballots(log)) == 30
        way.lose_next = True
        changes = [ballot(number, number=2, selection="2", replaces=1) for number in range(30)]
        assert codes(append(log, *changes)) == ["accepted"] * 30
        assert way.lost == 2
        assert len(ballots(log)) == 60

    def test_the_outcome_is_unknown_if_a_repeated_append_is_refused(
        self, way: LossyConnection, redis_server: Redis
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
                client.function_flush,  # so that the log has to be compared again
            ]
            for start, way.then in zip((0, 30, 60), meanwhile, strict=True):
                way.lose_next = True
                told = codes(append(log, *(ballot(number) for number in range(start, start + 30))))
                client.config_set("maxmemory", "0")
                name_it(GENERATION)
                assert told == ["outcome_unknown"] * 30
                assert len(ballots(log)) == start + 30
        assert way.lost == 3

    def test_a_repeated_append_is_accepted_though_it_has_filled_the_backlog(
        self, log: VoteLog, way: LossyConnection, settings: Any
    ) -> None:
        settings.BACKLOG_LIMIT = 3
        open_gate(log)
        way.lose_next = True
        assert codes(append(log, *(ballot(number) for number in range(30)))) == ["accepted"] * 30
        assert way.lost == 1

    def test_repeating_a_close_appends_one_marker(self, log: VoteLog, way: LossyConnection) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(30)))
        way.lose_next = True
        markers = log.close(POLL, 1)
        assert way.lost == 1
        assert len(markers) == 3
        assert log.close(POLL, 1) == markers
        assert sum(len(listed) for listed in entries(log).values()) == 33
