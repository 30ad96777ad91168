"""PostgreSQL connections that give up if the server hangs (docs/decisions/database-timeouts.md)."""

import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.waiting import READY_NONE

#: If the server doesn't answer for this long, it is probed on a new connection.
PROBE_AFTER_SECONDS = 3.0
#: The shorter time before a probe while the server is known to be down, so that later requests fail fast.
PROBE_AFTER_SECONDS_WHILE_DOWN = 0.5
#: The server counts as down for this long after a failed probe.
DOWN_SECONDS = 10.0
#: Connect timeout of the probe, long enough for a busy server.
CONNECT_SECONDS = 4
#: All connections of a process share a probe's result for this long.
MAX_AGE_SECONDS = 1.0


class ServerUnresponsive(psycopg.OperationalError):
    """PostgreSQL didn't answer, and a probe on a new connection failed too."""


class ServerProbe:
    """Probes whether the server accepts connections. All connections of the process share the result."""

    def __init__(self) -> None:
        self._answers, self._known_at = True, -MAX_AGE_SECONDS

    @property
    def probe_after(self) -> float:
        silent = not self._answers and time.monotonic() - self._known_at < DOWN_SECONDS
        return PROBE_AFTER_SECONDS_WHILE_DOWN if silent else PROBE_AFTER_SECONDS

    def check(self, connection: psycopg.Connection[Any]) -> None:
        """Raise ServerUnresponsive if the server is down. Probe it unless the last result is recent."""
        if time.monotonic() - self._known_at >= MAX_AGE_SECONDS:
            self._answers, self._known_at = _answers(connection), time.monotonic()
        if not self._answers:
            raise ServerUnresponsive("PostgreSQL doesn't answer.")


def _answers(connection: psycopg.Connection[Any]) -> bool:
    known = {o.keyword.decode(): o.val.decode() for o in connection.pgconn.info if o.val is not None}
    try:
        psycopg.Connection.connect(make_conninfo(**known | {"connect_timeout": str(CONNECT_SECONDS)})).close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.OperationalError:
        return True  # an error such as "too many connections" is an answer
    return True


def bounded_connection_class(seconds: float) -> type[psycopg.Connection[Any]]:
    """Return a connection class that raises OperationalError if the server doesn't answer.

    If the server hangs or the network drops its answers, TCP stays connected. In this case the server's own
    timeouts don't help, so a thread would wait for ever. If only one connection hangs and the server accepts
    new ones, that connection is closed after `seconds`.
    """
    probe = ServerProbe()

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(self._with_probes(gen), interval, seconds if timeout is None else timeout)
            except psycopg.OperationalError:
                if not self.closed and self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    # The answer to the statement may still arrive, so the connection can't be reused.
                    self.pgconn.finish()
                raise

        def _with_probes(self, gen: PQGen[Any]) -> Generator[Any, Any, Any]:
            """Run `gen`, and probe the server after each probe_after seconds without data."""
            began = time.monotonic()
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted
                    if ready != READY_NONE:
                        began = time.monotonic()
                    elif time.monotonic() - began >= probe.probe_after:
                        probe.check(self)
                        began = time.monotonic()
                    wanted = gen.send(ready)
            except StopIteration as end:
                return end.value

    return Bounded
