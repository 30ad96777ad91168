"""Stepped results: show the tally in steps of several ballots, so that it doesn't tell how somebody voted.

While a poll with a release step of k is open or closing, everybody, including staff, sees released counts. A
step is recorded when k more ballots are counted than at the last step. The shown counts are always one step
behind the last recorded step. Closing the poll shows all counts. The last step also covers at least k
ballots, unless the poll has fewer ballots.

Replacements, and moves into or out of quarantine, become visible with the next step. A step needs k new
ballots in the first tally, and also in both tallies together. If only one of the two numbers mattered,
somebody could quarantine all but one ballot of a step, and see the marks of the remaining ballot
(docs/decisions/stepped-results.md).
"""

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
    """Release the next step of these polls where enough ballots have been counted."""
    for poll_id in sorted(poll_ids):
        poll = Poll.objects.filter(pk=poll_id, release_step__gt=1).first()
        if poll is not None:
            _advance(poll)


def catch_up() -> None:
    """Advance all stepped polls, since a crash after a batch may have skipped a step."""
    advance(Poll.objects.filter(release_step__gt=1, state__in=STEPPING).values_list("pk", flat=True))


def finish(poll: Poll, round_: int) -> None:
    """Add the ballots since the last step to the history. The caller must be in a transaction."""
    round_key = poll.pk, round_
    _lock_row(round_key)
    points = TallyPoint.objects.filter(poll_id=poll.pk, round=round_).values_list("key")
    known = {key: int(total) for key, total in points.annotate(total=Sum("count"))}
    _add_to_history(round_key, counts_of(*round_key), known)


def _advance(poll: Poll) -> None:
    round_key = poll.pk, poll.round
    with transaction.atomic():
        row = _lock_row(round_key)
        # The state is checked under the row's lock, so no step is recorded after finish(), which takes the
        # lock too.
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
    """Count the ballots of both tallies. Moving ballots between the tallies doesn't change the sum."""
    return counts.get(BALLOTS, 0) + counts.get(QUARANTINED + BALLOTS, 0)


def _add_to_history(round_key: RoundKey, counts: Mapping[str, int], before: Mapping[str, int]) -> None:
    """Add a step to the tally's history."""
    delta, second = tally_deltas.Delta(), store_clock() // 1000
    for key in {*counts, *before}:
        if not key.startswith(QUARANTINED):
            delta.points[(*round_key, second)][key] = counts.get(key, 0) - before.get(key, 0)
    # The delta can be written to any partition, since nothing else writes the history of this poll.
    tally_deltas.add(0, delta)
