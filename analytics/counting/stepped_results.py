"""Tallies that move in steps: what viewers see of a small poll doesn't tell who voted what.

Of a poll with a release step of k, while it is open and being closed, everybody sees released counts, staff
too. They move by k ballots at least, or not at all. One step is kept back: the next counts are taken once k
ballots more are counted than in the released ones, and released once k more are counted than in themselves.
So the last step, which closing makes, is no smaller than the others, unless the whole poll is.

A ballot that replaces another is none more: such changes show with the next step, and so do ballots that are
set aside or released. Of the second tally only the number of ballots is shown meanwhile, and the first one
alone has to have k ballots more too: else all but one of a step's could be set aside, and the one be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import transaction
from django.db.models import Sum

from analytics.counting import tally_deltas
from analytics.counting.validation import RoundKey
from analytics.models import Release, TallyPoint
from analytics.results.tallies import BALLOTS, QUARANTINED, REASONS, STEPPING, count_reasons, counts_of
from polls.models import Poll
from polls.votelog import store_clock


def advance(poll_ids: Iterable[int]) -> None:
    """Look whether something can be released of these polls, now that ballots of theirs were counted."""
    for poll_id in sorted(poll_ids):
        poll = Poll.objects.filter(pk=poll_id, release_step__gt=1).first()
        if poll is not None:
            _advance(poll)


def catch_up() -> None:
    """What a crash between counting and looking has left."""
    stepping = Poll.objects.filter(release_step__gt=1, state__in=STEPPING)
    advance(stepping.values_list("pk", flat=True))


def finish(poll: Poll, round_: int) -> None:
    """Everybody sees the true counts from now on: the history follows, in the caller's transaction."""
    round_key = poll.pk, round_
    _lock_row(round_key)
    points = TallyPoint.objects.filter(poll_id=poll.pk, round=round_).values_list("key")
    known = {key: int(total) for key, total in points.annotate(total=Sum("count"))}
    _add_to_history(round_key, counts_of(*round_key), known)


def _advance(poll: Poll) -> None:
    round_key = poll.pk, poll.round
    with transaction.atomic():
        row = _lock_row(round_key)
        # Behind the lock: whoever closes the poll holds it too, and from then on has the last word.
        if not Poll.objects.filter(pk=poll.pk, round=poll.round, state__in=STEPPING).exists():
            return
        counts = counts_of(*round_key)
        before = row.next_counts or row.counts
        more = counts.get(BALLOTS, 0) - before.get(BALLOTS, 0)
        if min(more, _ballots(counts) - _ballots(before)) < poll.release_step:
            return
        if row.next_counts:
            _add_to_history(round_key, row.next_counts, row.counts)
            row.counts, row.version = row.next_counts, row.next_version
        row.next_counts = counts | {REASONS: count_reasons(*round_key)}
        row.next_version = row.version + 1
        row.save(update_fields=["counts", "version", "next_counts", "next_version"])


def _lock_row(round_key: RoundKey) -> Release:
    poll_id, round_ = round_key
    Release.objects.bulk_create([Release(poll_id=poll_id, round=round_)], ignore_conflicts=True)
    return Release.objects.select_for_update().get(poll_id=poll_id, round=round_)


def _ballots(counts: Mapping[str, int]) -> int:
    """In both tallies: their sum only grows, whatever is moved between them."""
    return counts.get(BALLOTS, 0) + counts.get(QUARANTINED + BALLOTS, 0)


def _add_to_history(round_key: RoundKey, counts: Mapping[str, int], before: Mapping[str, int]) -> None:
    """The step in the tally's history."""
    delta, second = tally_deltas.Delta(), store_clock() // 1000
    for key in {*counts, *before}:
        if not key.startswith(QUARANTINED):
            delta.points[(*round_key, second)][key] = counts.get(key, 0) - before.get(key, 0)
    # Nobody else writes points of this poll, whichever the partition.
    tally_deltas.add(0, delta)
