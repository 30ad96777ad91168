"""Terminate sessions of workers that froze in the middle of a COPY, since they keep a partition locked.

PostgreSQL ends transactions that are idle for too long, but not while it waits for the next byte of a COPY.
Neither statement_timeout nor idle_in_transaction_session_timeout applies to this wait. Workers write the
ledger by COPY.
"""

import logging

from django.db import connection

logger = logging.getLogger(__name__)

#: Only sessions with Landslide's application_name are terminated, since the COPY that restores a backup may
#: take long.
_END_STUCK = """
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user
    AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
    AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY %'
    AND query_start < clock_timestamp()
        - NULLIF(current_setting('idle_in_transaction_session_timeout')::interval, interval '0')
"""


def end_copies() -> int:
    """Terminate sessions that have been in COPY as long as a transaction may be idle. Return their number."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_END_STUCK)
        ended = [pid for pid, _terminated in cursor.fetchall()]
    if ended:
        logger.warning("stuck_copies_ended", extra={"backends": ended})
    return len(ended)
