"""Connections give up on a PostgreSQL that hangs."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.conf import settings
from psycopg_pool import ConnectionPool, PoolTimeout

from config.operations import postgresql
from config.operations.postgresql import ServerUnresponsive, bounded_connection_class
from tests.servers import PATIENCE, PostgreSQL, wait_for

pytestmark = pytest.mark.full_only


def test_hanging_server_closes_the_connection_in_time(
    start_postgresql: Callable[..., PostgreSQL],
) -> None:
    server = start_postgresql()
    with bounded_connection_class(0.3).connect(server.url("postgres"), autocommit=True) as connection:
        server.freeze()
        try:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            assert connection.closed
        finally:
            server.thaw()
    with bounded_connection_class(30).connect(server.url("postgres"), autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_hanging_server_is_detected_by_a_probe(
    start_postgresql: Callable[..., PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe notices it long before the connection's own timeout. Later requests then fail at once."""
    monkeypatch.setattr(postgresql, "PROBE_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", 2)
    server, kind = start_postgresql(), bounded_connection_class(100)
    connections = [kind.connect(server.url("postgres"), autocommit=True) for _ in range(3)]
    server.freeze()
    try:
        for connection in connections:
            with pytest.raises(ServerUnresponsive):
                connection.execute("SELECT 1")
            assert connection.closed
    finally:
        server.thaw()
    # The server may be slow after its freeze.
    monkeypatch.setattr(postgresql, "PROBE_AFTER_SECONDS_WHILE_DOWN", PATIENCE)
    with kind.connect(server.url("postgres"), autocommit=True) as again:
        assert again.execute("SELECT 1").fetchone() == (1,)


def test_pool_reconnects_on_demand_after_an_outage(
    start_postgresql: Callable[..., PostgreSQL],
) -> None:
    server = start_postgresql()
    options = settings.POSTGRESQL_OPTIONS["pool"] | {"timeout": 0.2, "check": ConnectionPool.check_connection}
    with ConnectionPool(server.url("postgres"), open=True, **options) as pool:
        pool.wait()
        server.kill()
        with pytest.raises(PoolTimeout):
            pool.getconn()
        wait_for(lambda: pool.get_stats()["pool_size"] == 0, what="the pool to give up")
        server.start()
        with pool.connection(timeout=PATIENCE) as again:
            assert again.execute("SELECT 1").fetchone() == (1,)


def test_busy_server_is_waited_for(
    start_postgresql: Callable[..., PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PROBE_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(postgresql, "MAX_AGE_SECONDS", 0.1)
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", PATIENCE)
    asked: list[bool] = []
    answers = postgresql._answers

    def ask(connection: psycopg.Connection[Any]) -> bool:
        asked.append(answers(connection))
        return asked[-1]

    monkeypatch.setattr(postgresql, "_answers", ask)
    with bounded_connection_class(100).connect(
        start_postgresql().url("postgres"), autocommit=True
    ) as connection:
        assert connection.execute("SELECT 7 FROM pg_sleep(1)").fetchone() == (7,)
    assert len(asked) > 1
    assert all(asked)


def test_server_without_free_connections_counts_as_alive(
    start_postgresql: Callable[..., PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PROBE_AFTER_SECONDS", 0.1)
    server = start_postgresql()
    with server.connect("postgres") as owner:
        owner.execute("CREATE ROLE voter LOGIN CONNECTION LIMIT 1")
    with bounded_connection_class(100).connect(
        server.url("postgres"), user="voter", autocommit=True
    ) as connection:
        assert connection.execute("SELECT 7 FROM pg_sleep(0.6)").fetchone() == (7,)


def test_statement_error_keeps_the_connection(start_postgresql: Callable[..., PostgreSQL]) -> None:
    with bounded_connection_class(30).connect(
        start_postgresql().url("postgres"), autocommit=True
    ) as connection:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SET statement_timeout = 1; SELECT pg_sleep(9)")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_all_connections_are_of_the_bounded_class() -> None:
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]
    assert pool["connection_class"].__qualname__ == "bounded_connection_class.<locals>.Bounded"
