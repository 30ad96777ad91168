"""Which ballots of a batch count apart, in the second tally, and by which decision.

A rule's decision is made here, on demand, in the transaction that counts the first ballot it takes in. The
standing ones of operators, and what becomes of all of them, are in quarantine.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet

from analytics.counting.validation import RoundKey
from analytics.models import Quarantine
from polls.votelog.entries import Block, Entry

#: Blocks by the decision that takes them in; None: none does.
Groups = dict[int | None, list[Block]]

BY_RULE = "rule"  # who decided, where nobody did


@dataclass(slots=True)
class Decisions:
    """The decisions on a batch's ballots. False where all of them count in the first tally."""

    by_rule: dict[tuple[RoundKey, str], int] = field(default_factory=dict)
    standing: dict[RoundKey, list[Quarantine]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_rule or self.standing)

    def of(self, ballots: Block | Entry) -> int | None:
        """The rule's decision where a rule set them aside, else the oldest that stood at their time."""
        where = ballots.poll_id, ballots.round
        if ballots.aside:
            return self.by_rule[where, ballots.aside]
        for decision in self.standing.get(where, ()):
            if stood(decision, ballots.at):
                return decision.pk
        return None

    def group(self, blocks: Sequence[Block]) -> Groups:
        if not self:
            return {None: list(blocks)} if blocks else {}
        groups: Groups = defaultdict(list)
        for block in blocks:
            groups[self.of(block)].append(block)
        return groups


def stood(decision: Quarantine, at: int) -> bool:
    """Whether a decision was in force at that time, by the vote log's clock."""
    since, until = decision.since, decision.until
    return since is not None and since <= at and (until is None or at < until)


def decisions_for(blocks: Sequence[Block | Entry], *, look: bool = True) -> Decisions:
    """The decisions on these ballots; `look`: whether there may be standing ones."""
    decisions = Decisions()
    for where, rule in sorted({((b.poll_id, b.round), b.aside) for b in blocks if b.aside}):
        decisions.by_rule[where, rule] = _decision_of(where, rule)
    if look:
        for row in standing().filter(poll_id__in={block.poll_id for block in blocks}).order_by("pk"):
            decisions.standing.setdefault((row.poll_id, row.round), []).append(row)
    return decisions


def standing() -> QuerySet[Quarantine]:
    """Decisions that take in what is counted from now on."""
    return Quarantine.objects.filter(since__isnull=False, released_at=None)


def _decision_of(where: RoundKey, rule: str) -> int:
    """The rule's decision for that round; a new one where there is none, or it was released."""
    poll_id, round_ = where
    valid = Quarantine.objects.filter(poll_id=poll_id, round=round_, rule=rule, released_at=None)
    found = valid.values_list("pk", flat=True).first()
    if found is None:
        # Another partition may be at it too: one of the two waits here, and then finds the other's.
        Quarantine.objects.bulk_create(
            [Quarantine(poll_id=poll_id, round=round_, rule=rule, decided_by=BY_RULE)], ignore_conflicts=True
        )
        found = valid.values_list("pk", flat=True).get()
    return found
