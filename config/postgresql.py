"""Connections to PostgreSQL on which nobody waits for ever."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import PQGen


def bounded(seconds: float) -> type[psycopg.Connection[Any]]:
    """A class of connections that end, with OperationalError, when the server is silent for so long.

    A server that hangs, or a network that swallows its answers, leaves TCP alive, and the server's own
    time-outs are no use then: without this, a thread that waits for it would wait as long as it hangs.
    """

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, seconds if timeout is None else timeout)
            except psycopg.OperationalError:
                if not self.closed and self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    # In the midst of a statement whose answer may still come: of no use to anybody.
                    self.pgconn.finish()
                raise

    return Bounded
