"""Workers that stopped in the middle of a COPY, holding what others wait for.

PostgreSQL ends by itself whoever does nothing for too long within a transaction, but not one that has begun
to send rows: there it waits for the next byte, and neither statement_timeout nor the time-out of idle
transactions reaches it. Workers write the ledger by COPY, and one that froze there would keep its partition.
"""

from __future__ import annotations

import logging

from django.db import connection

logger = logging.getLogger(__name__)

#: Of our own programs only, by their name: a backup that is being restored may take its time.
_STUCK = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user
    AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
    AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY %'
    AND query_start < clock_timestamp()
        - NULLIF(current_setting('idle_in_transaction_session_timeout')::interval, interval '0')
"""


def end_copies() -> int:
    """End those who have been at it for as long as a transaction may be idle; how many there were."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_STUCK)
        ended = [pid for (pid,) in cursor.fetchall()]
        for pid in ended:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    if ended:
        logger.warning("stuck_copies_ended", extra={"backends": ended})
    return len(ended)
