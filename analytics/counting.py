"""From the vote log into ledger and tally, exactly once.

One batch is one database transaction that also moves the partition's position. A crash
anywhere repeats the batch with no effect twice, and a worker that lost its lock finds its
transaction gone.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from polls import lifecycle
from polls.errors import LandslideError, LogInconsistent
from polls.methods import METHODS, Method, MethodRules, decode
from polls.models import DeadLetter, Poll, Round, State
from polls.votelog import get_log
from polls.votelog.base import Entry, Head, entries_of

from . import ledger
from .models import Checkpoint
from .signals import tally_changed
from .tallies import BALLOTS, final_result

logger = logging.getLogger(__name__)

#: Entries are trimmed once they have been counted for this long: a replica or a repair may want them.
KEEP_COUNTED = timedelta(minutes=1)


#: An entry that can't be counted, a stable reason, and a sentence.
Misfit = tuple[Entry, str, str]


@dataclass(slots=True)
class Batch:
    """What one transaction counted."""

    position: int
    entries: int = 0
    poll_ids: set[int] = field(default_factory=set)
    closes: bool = False


@dataclass(slots=True)
class Delta:
    """What a batch adds to the tallies: per (poll, round), and per second of acceptance."""

    tally: dict[tuple[int, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    points: dict[tuple[int, int, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def count_partition(partition: int) -> int:
    """Count until the partition's log is empty; how many entries were counted.

    Returns early where another worker holds the partition: that one looks again after
    it has let go, so nothing is left behind.
    """
    counted = 0
    while True:
        batch = _count_batch(partition)
        if batch is None:
            return counted
        counted += batch.entries
        if batch.poll_ids:
            # Robust: a screen that can't be told must not keep the next ballots from being counted.
            tally_changed.send_robust(sender=None, poll_ids=batch.poll_ids)
        if batch.closes:
            settle_closings()
        if not batch.entries and not get_log().read(partition, batch.position, 1):
            return counted


def _count_batch(partition: int) -> Batch | None:
    log = get_log()
    with transaction.atomic(durable=True):
        checkpoint = _locked_checkpoint(partition)
        if checkpoint is None:
            return None
        head = log.head(partition)
        entries = entries_of(log.read(partition, checkpoint.position, settings.COUNT_BATCH))
        _check_log(checkpoint, head, entries)
        batch = Batch(checkpoint.position, len(entries))
        due = _is_due_for_trimming(checkpoint)
        if due:
            # Before the commit, and safe: all this was counted by transactions that are long over.
            log.trim(partition, checkpoint.trim_to)
            _note_for_trimming(checkpoint)
        if entries:
            ballots = [entry for entry in entries if entry.kind == "ballot"]
            _count_ballots(partition, ballots)
            batch.position = checkpoint.position = entries[-1].position
            batch.poll_ids = {entry.poll_id for entry in ballots}
            batch.closes = len(ballots) < len(entries)
        if entries or due:
            checkpoint.save(update_fields=["position", "trim_to", "trim_noted_at"])
    return batch


def _locked_checkpoint(partition: int) -> Checkpoint | None:
    """The partition's checkpoint, ours until the transaction ends; None where another worker has it."""
    rows = Checkpoint.objects.filter(partition=partition, made=True)
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    return rows.first()


def _check_log(checkpoint: Checkpoint, head: Head | None, entries: Sequence[Entry]) -> None:
    """`head` was read before `entries`: what it names must be among them."""
    if head is None or not head.continues(checkpoint.generation, checkpoint.position):
        raise LogInconsistent(f"Partition {checkpoint.partition} is not the log that was counted from.")
    following = checkpoint.position + 1
    contiguous = all(entry.position == position for position, entry in enumerate(entries, following))
    if not contiguous or (not entries and head.position > checkpoint.position):
        raise LogInconsistent(f"Partition {checkpoint.partition} lacks entries behind the checkpoint.")


def _is_due_for_trimming(checkpoint: Checkpoint) -> bool:
    if checkpoint.trim_noted_at is None:
        return checkpoint.trim_to < checkpoint.position
    return timezone.now() - checkpoint.trim_noted_at >= KEEP_COUNTED


def _note_for_trimming(checkpoint: Checkpoint) -> None:
    """What is counted by now is trimmed next time; no note once there is nothing left to trim."""
    left = checkpoint.trim_to < checkpoint.position
    checkpoint.trim_noted_at = timezone.now() if left else None
    checkpoint.trim_to = checkpoint.position


def _count_ballots(partition: int, entries: Sequence[Entry]) -> None:
    """Ledger, tally and dead letters of these entries, in the transaction that is under way."""
    good, misfits = _judge(entries)
    # At once: a ballot that replaces one of these looks for it there.
    _set_aside(partition, misfits)
    _set_aside(partition, _book(partition, good))


def count_entry(partition: int, entry: Entry) -> str:
    """Count one entry that was set aside; the reason where it still can't be. Needs the partition's lock."""
    good, misfits = _judge([entry])
    misfits += _book(partition, good)
    return " ".join(f"{reason} {detail}".strip() for _, reason, detail in misfits)


def _book(partition: int, entries: Sequence[Entry]) -> list[Misfit]:
    """Valid entries into ledger and tally; those for which the ledger has no place."""
    collapsed, seconds = ledger.collapse(entries)
    written = ledger.write(collapsed)
    _add_to_tally(partition, _delta(written))
    return [(entry, "already_counted", "") for entry in (*seconds, *written.refused)]


def _judge(entries: Sequence[Entry]) -> tuple[list[Entry], list[Misfit]]:
    """Which entries their round's rules allow, and which not, with the reason."""
    rules = _rules_of({(entry.poll_id, entry.round) for entry in entries})
    verdicts: dict[tuple[int, int, str], tuple[str, str] | None] = {}
    good, bad = [], []
    for entry in entries:
        # A poll has few different selections and many ballots: judge each selection once.
        what = (entry.poll_id, entry.round, entry.selection)
        if what not in verdicts:
            verdicts[what] = _reason_against(entry, rules.get(what[:2]))
        verdict = verdicts[what]
        if verdict is None:
            good.append(entry)
        else:
            bad.append((entry, *verdict))
    return good, bad


def _rules_of(rounds: set[tuple[int, int]]) -> dict[tuple[int, int], tuple[Method, MethodRules]]:
    rows = Round.objects.filter(poll_id__in={poll_id for poll_id, _ in rounds})
    return {
        (row.poll_id, row.number): (METHODS[row.rules["method"]], row.method_rules())
        for row in rows
        if row.rules["method"] in METHODS
    }


def _reason_against(entry: Entry, rules: tuple[Method, MethodRules] | None) -> tuple[str, str] | None:
    if rules is None:
        return "unknown_round", f"There is no round {entry.round} of poll {entry.poll_id} by a known method."
    method, method_rules = rules
    try:
        if method.check(method_rules, list(decode(entry.selection))) == decode(entry.selection):
            return None
        return "invalid_selection", "The selection is not in canonical form."
    except LandslideError as error:
        return error.code, error.detail
    except ValueError:
        return "unreadable", "The selection can't be read."


def _set_aside(partition: int, misfits: Sequence[Misfit]) -> None:
    for entry, reason, _detail in misfits:
        logger.error(
            "dead_letter", extra={"poll": entry.poll_id, "position": entry.position, "reason": reason}
        )
    DeadLetter.objects.bulk_create(
        DeadLetter(
            partition=partition,
            position=entry.position,
            poll_id=entry.poll_id,
            round=entry.round,
            voter_key=entry.voter_key,
            ballot_id=entry.ballot_id,
            selection=_storable(entry.selection),
            replaces=entry.replaces,
            reason=reason,
            detail=detail,
        )
        for entry, reason, detail in misfits
    )


def _storable(text: str) -> str:
    """What set an entry aside may be that it isn't text; it must not stop the rest."""
    return text.replace("\0", "\ufffd")[:400]


def _delta(written: ledger.Written) -> Delta:
    delta = Delta()
    methods = _rules_of(
        {(e.poll_id, e.round) for e in written.added} | {(e.poll_id, e.round) for _, e in written.replaced}
    )

    # Collapse in memory, write once: ballots that are alike are counted before they are looked into.
    alike = Counter((e.poll_id, e.round, e.selection, e.at // 1000) for e in written.added)
    for (poll_id, round_, selection, second), count in alike.items():
        keys = [BALLOTS, *methods[poll_id, round_][0].contribution(decode(selection))]
        for key in keys:
            delta.tally[poll_id, round_][key] += count
            delta.points[poll_id, round_, second][key] += count
    for old, entry in written.replaced:
        where, second = (entry.poll_id, entry.round), entry.at // 1000
        contribution = methods[where][0].contribution
        for sign, selection in ((-1, old), (1, entry.selection)):
            for key in contribution(decode(selection)):
                delta.tally[where][key] += sign
                delta.points[(*where, second)][key] += sign
        delta.tally[where][BALLOTS] += 0  # a change, though not in the number of ballots
    return delta


def _add_to_tally(partition: int, delta: Delta) -> None:
    tally = [
        (poll_id, round_, key, partition, count, 1)
        for (poll_id, round_), counts in delta.tally.items()
        for key, count in counts.items()
    ]
    points = [
        (poll_id, round_, second, key, partition, count)
        for (poll_id, round_, second), counts in delta.points.items()
        for key, count in counts.items()
        if count
    ]
    with connection.cursor() as cursor:
        # Sums are made by the database, never as a value read before plus one.
        if tally:
            cursor.executemany(
                "INSERT INTO analytics_tally (poll_id, round, key, partition, count, changes)"
                " VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (poll_id, round, key, partition) DO UPDATE"
                " SET count = analytics_tally.count + excluded.count,"
                " changes = analytics_tally.changes + excluded.changes",
                tally,
            )
        if points:
            cursor.executemany(
                "INSERT INTO analytics_tallypoint (poll_id, round, second, key, partition, count)"
                " VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (poll_id, round, second, key, partition) DO UPDATE"
                " SET count = analytics_tallypoint.count + excluded.count",
                points,
            )


def settle_closings() -> None:
    """closing → closed for every poll whose closing markers have all been counted."""
    for poll in Poll.objects.filter(state=State.CLOSING):
        try:
            _settle_closing(poll)
        except Exception:
            # What is wrong with one poll must not keep the others from closing.
            logger.exception("closing_not_settled", extra={"poll": poll.pk})


def _settle_closing(poll: Poll) -> None:
    markers = lifecycle.closing_markers(poll)
    counted = dict(Checkpoint.objects.values_list("partition", "position"))
    if len(markers) < get_log().partitions:
        return
    if any(counted.get(marker.partition, 0) < marker.position for marker in markers):
        return
    with transaction.atomic():
        # Under the poll's lock, as a dead letter that is counted meanwhile: one of the two sees the other.
        locked = Poll.objects.select_for_update().get(pk=poll.pk)
        closed_at = max(marker.closed_at for marker in markers)
        lifecycle.finish_closing(poll.pk, poll.round, closed_at, final_result(locked))
