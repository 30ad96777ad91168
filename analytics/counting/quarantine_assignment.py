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
BlocksByDecision = dict[int | None, list[Block]]

BY_RULE = "rule"  # who decided, where nobody did


@dataclass(slots=True)
class Decisions:
    """The decisions on a batch's ballots. False where all of them count in the first tally."""

    by_rule: dict[tuple[RoundKey, str], int] = field(default_factory=dict)
    standing: dict[RoundKey, list[Quarantine]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_rule or self.standing)

    def decision_for(self, ballots: Block | Entry) -> int | None:
        """The rule's decision where a rule set them aside, else the oldest that stood at their time."""
        round_key = ballots.poll_id, ballots.round
        if ballots.aside:
            return self.by_rule[round_key, ballots.aside]
        for decision in self.standing.get(round_key, ()):
            if in_force(decision, ballots.at):
                return decision.pk
        return None

    def group(self, blocks: Sequence[Block]) -> BlocksByDecision:
        if not self:
            return {None: list(blocks)} if blocks else {}
        groups: BlocksByDecision = defaultdict(list)
        for block in blocks:
            groups[self.decision_for(block)].append(block)
        return groups


def in_force(decision: Quarantine, at: int) -> bool:
    """Whether a decision was in force at that time, by the vote log's clock."""
    since, until = decision.since, decision.until
    return since is not None and since <= at and (until is None or at < until)


def find_decisions(blocks: Sequence[Block | Entry], *, standing_exist: bool = True) -> Decisions:
    """The decisions on these ballots; `look`: whether there may be standing ones."""
    decisions = Decisions()
    for round_key, rule in sorted({((b.poll_id, b.round), b.aside) for b in blocks if b.aside}):
        decisions.by_rule[round_key, rule] = _get_or_create_decision(round_key, rule)
    if standing_exist:
        for row in (
            standing_decisions().filter(poll_id__in={block.poll_id for block in blocks}).order_by("pk")
        ):
            decisions.standing.setdefault((row.poll_id, row.round), []).append(row)
    return decisions


def standing_decisions() -> QuerySet[Quarantine]:
    """Decisions that take in what is counted from now on."""
    return Quarantine.objects.filter(since__isnull=False, released_at=None)


def _get_or_create_decision(round_key: RoundKey, rule: str) -> int:
    """The rule's decision for that round; a new one where there is none, or it was released."""
    poll_id, round_ = round_key
    valid = Quarantine.objects.filter(poll_id=poll_id, round=round_, rule=rule, released_at=None)
    found = valid.values_list("pk", flat=True).first()
    if found is None:
        # Another partition may be at it too: one of the two waits here, and then finds the other's.
        Quarantine.objects.bulk_create(
            [Quarantine(poll_id=poll_id, round=round_, rule=rule, decided_by=BY_RULE)], ignore_conflicts=True
        )
        found = valid.values_list("pk", flat=True).get()
    return found
