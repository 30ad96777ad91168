"""A PostgreSQL that hangs holds nobody up for ever."""

from collections.abc import Callable

import psycopg
import pytest
from django.conf import settings

from config.postgresql import bounded
from tests.servers import PostgreSQL

pytestmark = pytest.mark.full_only


def test_a_server_that_hangs_ends_the_connection_not_the_thread(
    start_postgresql: Callable[..., PostgreSQL],
) -> None:
    server = start_postgresql()
    with bounded(0.3).connect(server.url("postgres"), autocommit=True) as connection:
        server.freeze()
        try:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            assert connection.closed
        finally:
            server.thaw()
    with bounded(30).connect(server.url("postgres"), autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_error_of_a_statement_ends_no_connection(start_postgresql: Callable[..., PostgreSQL]) -> None:
    with bounded(30).connect(start_postgresql().url("postgres"), autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SET statement_timeout = 1; SELECT pg_sleep(9)")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_every_connection_is_bounded() -> None:
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]
    assert pool["connection_class"].__qualname__ == "bounded.<locals>.Bounded"
