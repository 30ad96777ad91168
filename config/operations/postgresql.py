"""Connections to PostgreSQL on which nobody waits for ever."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.waiting import READY_NONE

#: A server that has said nothing for so long is asked on another connection whether it is there at all.
PROBE_AFTER_SECONDS = 3.0
#: Where that had no answer either, those who come next needn't find out for themselves.
PROBE_AFTER_SECONDS_WHILE_DOWN = 0.5
DOWN_SECONDS = 10.0
#: Long enough for a server that is only busy.
CONNECT_SECONDS = 4
#: An answer that is not older is everybody's.
MAX_AGE_SECONDS = 1.0


class ServerUnresponsive(psycopg.OperationalError):
    """It doesn't answer on other connections either."""


class ServerProbe:
    """Whether a server answers at all, asked by whoever waits for it and known to all of them."""

    def __init__(self) -> None:
        self._answers, self._known_at = True, -MAX_AGE_SECONDS

    @property
    def probe_after(self) -> float:
        silent = not self._answers and time.monotonic() - self._known_at < DOWN_SECONDS
        return PROBE_AFTER_SECONDS_WHILE_DOWN if silent else PROBE_AFTER_SECONDS

    def check(self, connection: psycopg.Connection[Any]) -> None:
        """Raise ServerUnresponsive where it doesn't. One that is busy with a long statement does."""
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
        return True  # that it has no place left is an answer too
    return True


def bounded(seconds: float) -> type[psycopg.Connection[Any]]:
    """A class of connections that end, with OperationalError, when the server is silent.

    A server that hangs, or a network that swallows its answers, leaves TCP alive, and the server's own
    time-outs are no use then: without this, a thread that waits for it would wait as long as it hangs.
    Where only this one connection is silent, it ends after `seconds`.
    """
    probe = ServerProbe()

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(self._with_probes(gen), interval, seconds if timeout is None else timeout)
            except psycopg.OperationalError:
                if not self.closed and self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    # In the midst of a statement whose answer may still come: of no use to anybody.
                    self.pgconn.finish()
                raise

        def _with_probes(self, gen: PQGen[Any]) -> Generator[Any, Any, Any]:
            """The same conversation; while nothing comes, a look at the clock."""
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
