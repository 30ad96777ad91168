"""Recounts a round from the ledger, and corrects the tally if it differs.

The database groups equal ballots, so Python reads one row for each distinct selection. Quarantined ballots
are recounted as the second tally, under keys with the prefix `QUARANTINED`. The tally's history can't be
recounted, since the ledger holds no times. A correction enters the history at the present second.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Sum
from django.utils.translation import gettext as _

from analytics.counting import tally_deltas
from analytics.counting.checkpoints import lock_all_checkpoints
from analytics.models import TallyPoint
from analytics.results import anonymity_threshold
from analytics.results.final_results import earlier_result, final_result
from analytics.results.tallies import BALLOTS, QUARANTINED, ballot_cells, counts_of, is_stepping
from analytics.signals import tally_changed
from polls.audit_log import record
from polls.errors import LandslideError
from polls.models import Ballot, Poll, Round, State
from polls.signals import poll_changed
from polls.votelog import store_clock

#: A function that is called after each part of a recount, with the number of ballots in this part.
Progress = Callable[[int], None]

#: An approximate number. With more ballots in a statement, progress would be shown too rarely. Fewer would be
#: slower.
_BALLOTS_PER_STATEMENT = 250_000


class RecountRefused(LandslideError):
    code = "recount_refused"
    status = 409
    title = _("This round can't be recounted")


@dataclass(frozen=True, slots=True)
class Line:
    """One key of the tally: its present count, and the count in the ledger."""

    key: str
    tally: int
    ledger: int

    @property
    def drift(self) -> int:
        return self.tally - self.ledger


@dataclass(frozen=True, slots=True)
class Recount:
    """The outcome of a recount. `lines` are in the order of the choices, with the number of ballots last."""

    round: Round
    lines: list[Line] = field(default_factory=list)
    #: True if the choices of the second tally had to be withheld at the time of the recount.
    withheld: bool = False

    @property
    def drifted(self) -> list[Line]:
        return [line for line in self.lines if line.drift]

    def rows(self) -> list[dict[str, Any]]:
        """Return rows for a table: the first tally, then the second, with the choices' labels.

        If the second tally is withheld, rows of its choices are left out unless they have drifted. Such a row
        would show that somebody marked the choice.
        """
        labels = {choice.number: choice.label for choice in self.round.poll.choices.all()}
        for choice in (self.round.result or {}).get("choices", []):
            labels[choice["number"]] = choice["label"]  # the label that the choice had in the round
        return [
            {
                "label": self._label(line.key.removeprefix(QUARANTINED), labels),
                "quarantined": line.key.startswith(QUARANTINED),
                "withheld": self.withheld and _is_quarantined_choice(line),
                "tally": line.tally,
                "ledger": line.ledger,
                "drift": line.drift,
            }
            for line in self.lines
            if line.drift or not (self.withheld and _is_quarantined_choice(line))
        ]

    def _label(self, key: str, labels: Mapping[int, str]) -> str:
        return _("Ballots") if key == BALLOTS else self.round.method.key_label(key, labels)


def _is_quarantined_choice(line: Line) -> bool:
    """True if this line counts a choice in the second tally."""
    return line.key.startswith(QUARANTINED) and line.key != QUARANTINED + BALLOTS


def count_ballots(round_: Round) -> int:
    return Ballot.objects.filter(poll_id=round_.poll_id, round=round_.number).count()


def recount(round_: Round, progress: Progress | None = None) -> Recount:
    """Compare tally and ledger in one snapshot of the database. Change nothing. Counting continues."""
    with consistent_snapshot():
        return compare(round_, progress)


def fix(round_: Round, by: str, progress: Progress | None = None) -> Recount:
    """Recount, and correct the tally if it differs from the ledger. Return the recount.

    The workers wait. A correction starts a new epoch, so that viewers load the tally again, and
    updates the result of a round that is over.
    """
    with transaction.atomic():
        _disable_statement_timeout()
        lock_all_checkpoints()
        poll = Poll.objects.select_for_update().get(pk=round_.poll_id)
        found = compare(round_, progress)
        if not found.drifted:
            return found
        stepping = is_stepping(poll) and round_.number == poll.round
        tally_deltas.add(0, _build_correction(round_, found.drifted, history=not stepping))
        Poll.objects.filter(pk=poll.pk).update(epoch=F("epoch") + 1)
        _update_result(poll, round_, found)
        drift = {line.key: line.drift for line in found.drifted}
        record(by, "tally corrected", poll.code, round=round_.number, drift=drift)
    poll_changed.send_robust(sender=Poll, poll_id=poll.pk)
    tally_changed.send_robust(sender=None, poll_ids={poll.pk})
    return found


def get_round(poll: Poll, number: int | None = None) -> Round:
    """Return the round with this number, or the current round. Raise RecountRefused if it never opened."""
    found = poll.rounds.filter(number=number or poll.round).select_related("poll").first()
    if found is None:
        raise RecountRefused(_("Round %(round)s has not been opened.") % {"round": number or poll.round})
    return found


@contextmanager
def consistent_snapshot() -> Iterator[None]:
    """Open a transaction with one snapshot for all statements, unless it is nested in another transaction."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        _disable_statement_timeout()
        yield


def _disable_statement_timeout() -> None:
    """Disable the timeout in this transaction, since recounting ten million ballots takes longer."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")


def compare(round_: Round, progress: Progress | None = None) -> Recount:
    """Compare tally and ledger in the present transaction."""
    tally = counts_of(round_.poll_id, round_.number)
    ledger = count_ledger(round_, progress)
    lines = [Line(key, tally.get(key, 0), ledger.get(key, 0)) for key in _in_order(round_, {*tally, *ledger})]
    withheld = anonymity_threshold.withheld(round_.poll_id, round_.number, round_.release_step)
    return Recount(round_, lines, withheld)


def count_ledger(round_: Round, progress: Progress | None = None) -> Mapping[str, int]:
    """Return the tally that the ledger's ballots add up to."""
    counts = Counter[str]()
    for selection, quarantined, ballots in _grouped_ballots(round_, progress):
        prefix = QUARANTINED if quarantined else ""
        for key, weight in ballot_cells(round_.method, selection).items():
            counts[prefix + key] += weight * ballots
    return counts


def _grouped_ballots(round_: Round, progress: Progress | None) -> Iterator[tuple[str, bool, int]]:
    """Yield (selection, whether in quarantine, number of ballots), for one range of voters after another."""
    rows = Ballot.objects.filter(poll_id=round_.poll_id, round=round_.number)
    for start, end in key_ranges(rows.count() // _BALLOTS_PER_STATEMENT + 1):
        some = rows.filter(voter_key__gte=start)
        some = some.filter(voter_key__lt=end) if end else some
        ballots = 0
        grouped = some.values_list("selection", "quarantine_id").annotate(ballots=Count("voter_key"))
        for selection, quarantine_id, count in grouped.order_by().iterator(chunk_size=5000):
            ballots += count
            yield selection, quarantine_id is not None, count
        if progress:
            progress(ballots)


def key_ranges(parts: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield `parts` equal ranges of voter keys as (start, exclusive end). The last range has an empty end."""
    parts = min(max(parts, 1), 0x10000)
    bounds = [(0x10000 * part // parts).to_bytes(2, "big") for part in range(1, parts)]
    yield from zip([b"", *bounds], [*bounds, b""], strict=True)


def _in_order(round_: Round, found: set[str]) -> list[str]:
    """Sort `found` and the method's keys: the first tally's, then the second's, each ending with BALLOTS."""
    known = round_.method.keys(round_.method_rules())
    places = {key: place for place, key in enumerate(known)}

    def place(key: str) -> tuple[bool, bool, int, str]:
        bare = key.removeprefix(QUARANTINED)
        return bare != key, bare == BALLOTS, places.get(bare, len(known)), bare

    return sorted({*known, BALLOTS, *found}, key=place)


def _build_correction(round_: Round, drifted: list[Line], *, history: bool) -> tally_deltas.Delta:
    """Return the changes that bring the tally to the ledger's count.

    The changes can be written to any partition, since the tally is the sum over all partitions. `history` is
    False for stepped results, since each step writes their history.
    """
    where, delta = (round_.poll_id, round_.number), tally_deltas.Delta()
    points = TallyPoint.objects.filter(poll_id=where[0], round=where[1])
    known = dict(points.values_list("key").annotate(total=Sum("count")))
    second = store_clock() // 1000
    for line in drifted:
        delta.tally[where][line.key] = -line.drift
        if history and not line.key.startswith(QUARANTINED):
            delta.points[(*where, second)][line.key] = line.ledger - int(known.get(line.key, 0))
    return delta


def _update_result(poll: Poll, round_: Round, found: Recount) -> None:
    """Update the stored result if the round is over."""
    rows = Round.objects.filter(pk=round_.pk, result__isnull=False)
    if round_.number == poll.round and poll.state in (State.CLOSED, State.PUBLISHED):
        poll.refresh_from_db()
        rows.update(result=final_result(poll))
    elif round_.number < poll.round and round_.result is not None:
        rows.update(result=earlier_result(round_, {line.key: line.ledger for line in found.lines}))
