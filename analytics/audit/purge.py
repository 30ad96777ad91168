"""Purging: what links a counted ballot to its voter is destroyed, for good.

The count stays and can be recounted; receipts lead nowhere any more, so the audit bundle,
whose list goes on proving that a ballot is in, is made first. Destroyed are the claims and
leftover ballots in the vote log, the voters' and ballots' keys in the ledger and among dead
letters, and the poll's secret, from which voters' keys are made. All in one transaction:
a crash leaves the round as it was, and the next try starts over.

Claims and secret are the whole poll's. So none of its rounds may be under way, and voters
are new ones to the next round. docs/audit.md says what a purge can't reach: backups.
"""

from __future__ import annotations

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
from analytics.models import Checkpoint, HeldBlock, Quarantine
from polls import keys
from polls.audit_log import SCHEDULE, record
from polls.errors import LandslideError
from polls.models import Ballot, DeadLetter, Poll, Round, State, new_secret
from polls.signals import poll_changed
from polls.votelog import get_log

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

#: Ballots a statement, about.
_BALLOTS_PER_STATEMENT = 50_000
#: How long to wait for the last ballots that the log holds to be counted.
COUNTING_TIMEOUT_SECONDS = 10.0
#: After a retention that was refused: what is in the way takes a person.
_RETRY_SECONDS = 3600


class PurgeRefused(LandslideError):
    code = "purge_refused"
    status = 409
    title = _("This can't be purged now")


def purge(poll_id: int, by: str, number: int | None = None, progress: Progress | None = None) -> list[Round]:
    """Purge the poll's rounds that are over, or just one of them; those that were purged now.

    PurgeRefused where a round is under way, or something in it waits for a decision.
    """
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
        Poll.objects.filter(pk=poll_id).update(secret=new_secret(), voters_by=keys.newest_fingerprint())
        now = timezone.now()
        Round.objects.filter(pk__in=[round_.pk for round_ in rounds]).update(purged_at=now)
        # Late, for it can't be rolled back. Harmless where all else is: no round is open that needs a claim.
        get_log().forget(poll_id, counted)
        numbers = [round_.number for round_ in rounds]
        record(by, "rounds purged", poll.code, rounds=numbers, bundles=[bundle.sha256 for bundle in made])
    poll_changed.send_robust(sender=Poll, poll_id=poll_id)
    return rounds


def purgeable(poll: Poll, number: int | None = None) -> list[Round]:
    """The rounds that a purge would take, or PurgeRefused with what is in the way."""
    if poll.state not in (State.DRAFT, State.PUBLISHED):
        raise PurgeRefused(_("A round of this poll is under way; publish its result or reset it first."))
    over = poll.rounds.filter(purged_at=None).order_by("number")
    over = over.exclude(number=poll.round) if poll.state == State.DRAFT else over
    rounds = list(over.filter(number=number) if number else over)
    if not rounds:
        raise PurgeRefused(_("There is no round that is over and not purged yet."))
    where = {"poll_id": poll.pk, "round__in": [round_.number for round_ in rounds]}
    waiting = DeadLetter.objects.filter(**where, status=DeadLetter.Status.WAITING).count()
    if waiting:
        raise PurgeRefused(_("Decide about the %(n)s dead letters of these rounds first.") % {"n": waiting})
    if HeldBlock.objects.filter(**where).exists():
        raise PurgeRefused(_("Ballots of these rounds are held back; resume their counting first."))
    if Quarantine.objects.filter(**where, released_at__isnull=False, moved_at=None).exists():
        raise PurgeRefused(_("Ballots out of quarantine are being counted; try again in a moment."))
    return rounds


def count_ballots(rounds: Sequence[Round]) -> int:
    return sum(Ballot.objects.filter(poll_id=r.poll_id, round=r.number).count() for r in rounds)


def purge_by_retention() -> None:
    """Purge what has been published for longer than settings.RETENTION_DAYS."""
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
            # What is wrong with one poll must not keep the others.
            logger.exception("purge_failed", extra={"poll": poll.pk})


def _due(before: Any) -> QuerySet[Poll]:
    rounds = Round.objects.filter(poll_id=OuterRef("pk"))
    published = Q(state=State.PUBLISHED, published_at__lte=before)
    # Rounds behind a draft are purged together, by the age of the newest.
    reset = Q(state=State.DRAFT) & ~Exists(rounds.filter(closed_at__gt=before))
    return Poll.objects.filter(published | reset).filter(Exists(rounds.filter(purged_at=None)))


def _wait_until_counted() -> dict[int, int]:
    """The log's present heads by partition, once all that is before them is counted."""
    heads = {partition: head.position for partition, head in get_log().heads().items()}
    deadline = time.monotonic() + COUNTING_TIMEOUT_SECONDS
    while True:
        counted = dict(Checkpoint.objects.values_list("partition", "position"))
        if all(counted.get(partition, 0) >= position for partition, position in heads.items()):
            return heads
        if time.monotonic() > deadline:
            raise PurgeRefused(_("The log holds ballots that are not counted yet; try again later."))
        time.sleep(0.1)


def _lock_quarantines(rounds: Sequence[Round]) -> None:
    """Nobody releases a quarantine of these rounds meanwhile; and the database's patience is ours."""
    numbers = [round_.number for round_ in rounds]
    held = Quarantine.objects.filter(poll_id=rounds[0].poll_id, round__in=numbers).order_by("pk")
    list(held.select_for_update())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


#: Written anew in no order, so that neither the keys' order nor the table's tells which row is which.
#: PostgreSQL's deletes and inserts: an update would keep to the order it reads in. On SQLite the table lies
#: in the order of its keys anyway (docs/decisions/ledger-order.md).
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
_RANDOM_KEY = {
    "postgresql": "uuid_send(gen_random_uuid())",
    "sqlite": "randomblob(16)",
}


def _unlink_ballots(round_: Round, progress: Progress | None) -> None:
    """A range of voters at a time. A new key may lie in a range that is to come: then it is drawn anew."""
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
