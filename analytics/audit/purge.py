"""Purges rounds: destroys all data that links counted ballots to their voters.

A purge destroys the poll's claims and remaining ballots in the vote log, the keys of voters and ballots in
the ledger and in dead letters, and the poll's secret, from which voters' keys are made. The count stays and
can be recounted. After a purge, receipts can't be looked up any more. The audit bundle is made before the
purge, and its list still proves that a ballot is included. The database changes in one transaction, so after
a crash the next attempt starts over.

Claims and secret belong to the whole poll. That is why a poll can't be purged while one of its rounds is
under way, and in the next round every voter counts as a new voter. docs/audit.md lists the copies that a
purge can't reach, such as backups.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.audit import bundles
from analytics.audit.recount import key_ranges
from analytics.counting.checkpoints import are_counted
from analytics.models import HeldBlock, Quarantine
from polls import keys
from polls.audit_log import SCHEDULE, record
from polls.errors import LandslideError
from polls.models import Ballot, DeadLetter, Poll, Round, State, new_secret
from polls.signals import poll_changed
from polls.votelog import get_log

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

_BALLOTS_PER_STATEMENT = 50_000  # approximately
#: How long a purge waits until all ballots in the log are counted.
COUNTING_TIMEOUT_SECONDS = 10.0
#: The least time between two attempts to purge a poll by retention. Usually an operator has to act first.
_RETRY_SECONDS = 3600


class PurgeRefused(LandslideError):
    code = "purge_refused"
    status = 409
    title = _("This can't be purged now")


def purge(poll_id: int, by: str, number: int | None = None, progress: Progress | None = None) -> list[Round]:
    """Purge the poll's finished rounds, or only round `number`. Return the rounds, or raise PurgeRefused."""
    poll = Poll.objects.get(pk=poll_id)
    rounds = purgeable(poll, number)
    counted = _wait_until_counted()
    made = [bundles.make_bundle(round_) for round_ in rounds]
    with transaction.atomic():
        poll = Poll.objects.select_for_update().get(pk=poll_id)
        rounds = purgeable(poll, number)
        _lock_quarantines(rounds)
        for round_ in rounds:
            _unlink_ballots(round_, progress)
            _unlink_dead_letters(round_)
        Poll.objects.filter(pk=poll_id).update(
            secret=new_secret(), secret_key_fingerprint=keys.newest_fingerprint()
        )
        now = timezone.now()
        Round.objects.filter(pk__in=[round_.pk for round_ in rounds]).update(purged_at=now)
        # Change the log last, since it can't be rolled back. If the transaction fails after this change, no
        # harm is done, since no round is open and only open rounds need claims.
        get_log().forget(poll_id, counted)
        numbers = [round_.number for round_ in rounds]
        record(by, "rounds purged", poll.code, rounds=numbers, bundles=[bundle.sha256 for bundle in made])
    poll_changed.send_robust(sender=Poll, poll_id=poll_id)
    return rounds


def purgeable(poll: Poll, number: int | None = None) -> list[Round]:
    """Return the rounds to purge. Raise PurgeRefused if the poll has none, or if a round isn't ready."""
    if poll.state not in (State.DRAFT, State.PUBLISHED):
        raise PurgeRefused(_("A round of this poll is under way; publish its result or reset it first."))
    finished = poll.rounds.filter(purged_at=None).order_by("number")
    if poll.state == State.DRAFT:
        finished = finished.exclude(number=poll.round)
    rounds = list(finished.filter(number=number) if number else finished)
    if not rounds:
        raise PurgeRefused(_("This poll has no finished round that isn't purged yet."))
    where = {"poll_id": poll.pk, "round__in": [round_.number for round_ in rounds]}
    waiting = DeadLetter.objects.filter(**where, status=DeadLetter.Status.WAITING).count()
    if waiting:
        raise PurgeRefused(_("Decide about the %(n)s dead letters of these rounds first.") % {"n": waiting})
    if HeldBlock.objects.filter(**where).exists():
        raise PurgeRefused(_("Ballots of these rounds are held back; resume their counting first."))
    if Quarantine.objects.filter(**where, released_at__isnull=False, moved_at=None).exists():
        raise PurgeRefused(_("Ballots are being released from quarantine; try again in a moment."))
    return rounds


def count_ballots(rounds: Sequence[Round]) -> int:
    return sum(Ballot.objects.filter(poll_id=r.poll_id, round=r.number).count() for r in rounds)


def purge_by_retention() -> None:
    """Purge polls that were published more than settings.RETENTION_DAYS ago."""
    if not settings.RETENTION_DAYS:
        return
    for poll in _due(timezone.now() - timedelta(days=settings.RETENTION_DAYS)):
        if not cache.add(f"purge:{poll.pk}", 1, _RETRY_SECONDS):
            continue
        try:
            purge(poll.pk, SCHEDULE)
        except LandslideError as refused:
            logger.error("purge_refused", extra={"poll": poll.pk, "reason": refused.detail})
        except Exception:
            # A poll that fails must not stop the purge of other polls.
            logger.exception("purge_failed", extra={"poll": poll.pk})


def _due(before: Any) -> QuerySet[Poll]:
    rounds = Round.objects.filter(poll_id=OuterRef("pk"))
    published = Q(state=State.PUBLISHED, published_at__lte=before)
    # The earlier rounds of a draft are purged together, when the newest of them is old enough.
    reset = Q(state=State.DRAFT) & ~Exists(rounds.filter(closed_at__gt=before))
    return Poll.objects.filter(published | reset).filter(Exists(rounds.filter(purged_at=None)))


def _wait_until_counted() -> dict[int, int]:
    """Wait until the log is counted up to its present heads. Return the heads' positions by partition."""
    heads = {partition: head.position for partition, head in get_log().heads().items()}
    deadline = time.monotonic() + COUNTING_TIMEOUT_SECONDS
    while True:
        if are_counted(heads):
            return heads
        if time.monotonic() > deadline:
            raise PurgeRefused(_("The log holds ballots that are not counted yet; try again later."))
        time.sleep(0.1)


def _lock_quarantines(rounds: Sequence[Round]) -> None:
    """Lock these rounds' quarantine decisions against release, and disable this transaction's timeouts."""
    numbers = [round_.number for round_ in rounds]
    held = Quarantine.objects.filter(poll_id=rounds[0].poll_id, round__in=numbers).order_by("pk")
    list(held.select_for_update())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


#: Replaces the keys by random ones, and writes the rows again in random order. Neither the order of the keys
#: nor the order of the table then shows which old row became which new row. PostgreSQL needs a delete and an
#: insert: an update would write rows in the order in which it reads them. SQLite orders the table by its keys
#: anyway (docs/decisions/ledger-order.md).
_UNLINK_BALLOTS = {
    "postgresql": """
        WITH gone AS (
            DELETE FROM polls_ballot WHERE poll_id = %s AND round = %s AND voter_key >= %s {below}
            RETURNING poll_id, round, selection, quarantine_id
        )
        INSERT INTO polls_ballot (poll_id, round, voter_key, ballot_id, selection, quarantine_id)
        SELECT poll_id, round, uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), selection,
            quarantine_id
        FROM gone ORDER BY random()
    """,
    "sqlite": """
        UPDATE polls_ballot SET voter_key = randomblob(16), ballot_id = randomblob(16), released_from = NULL
        WHERE poll_id = %s AND round = %s AND voter_key >= %s {below}
    """,
}
_RANDOM_KEY = {"postgresql": "uuid_send(gen_random_uuid())", "sqlite": "randomblob(16)"}


def _unlink_ballots(round_: Round, progress: Progress | None) -> None:
    """Replace the keys, range by range. A new random key may fall in a later range and is replaced again."""
    parts = count_ballots([round_]) // _BALLOTS_PER_STATEMENT + 1
    for start, end in key_ranges(parts):
        statement = _UNLINK_BALLOTS[connection.vendor].format(below="AND voter_key < %s" if end else "")
        with connection.cursor() as cursor:
            cursor.execute(statement, [round_.poll_id, round_.number, start, *([end] if end else [])])
        if progress:
            progress(_BALLOTS_PER_STATEMENT)


def _unlink_dead_letters(round_: Round) -> None:
    new = _RANDOM_KEY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE polls_deadletter SET voter_key = {new}, ballot_id = {new}, accepted_at = NULL,"  # noqa: S608
            f" replaces = CASE WHEN replaces IS NULL THEN NULL ELSE {new} END"
            " WHERE poll_id = %s AND round = %s",
            [round_.poll_id, round_.number],
        )
