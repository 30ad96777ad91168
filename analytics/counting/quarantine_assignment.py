"""Find the decisions that quarantine ballots of a batch, which are then counted in the second tally.

A rule, such as the rate limit, has a decision per round. This module creates the decision when the rule's
first ballot is counted. Operators' decisions are created in analytics/quarantine.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet

from analytics.counting.validation import RoundKey
from analytics.models import Quarantine
from polls.votelog.entries import Block, Entry

#: Blocks by the id of the decision that quarantines them. The key None has the blocks that are not
#: quarantined.
BlocksByDecision = dict[int | None, list[Block]]

BY_RULE = "rule"  # `decided_by` of a decision that a rule made


@dataclass(slots=True)
class Decisions:
    """The decisions about a batch's ballots. The object is false if there are no decisions."""

    by_rule: dict[tuple[RoundKey, str], int] = field(default_factory=dict)
    standing: dict[RoundKey, list[Quarantine]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_rule or self.standing)

    def decision_for(self, ballots: Block | Entry) -> int | None:
        """Return the ballots' decision: their rule's, or else the oldest standing decision in force."""
        round_key = ballots.poll_id, ballots.round
        if ballots.quarantine_rule:
            return self.by_rule[round_key, ballots.quarantine_rule]
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
    """Return whether a standing decision was in force at that time, by the vote log's clock."""
    since, until = decision.since, decision.until
    return since is not None and since <= at and (until is None or at < until)


def find_decisions(blocks: Sequence[Block | Entry], *, watch: bool = True) -> Decisions:
    """Find the decisions about these ballots. Without `watch`, don't look for standing decisions."""
    decisions = Decisions()
    rules = {
        ((block.poll_id, block.round), block.quarantine_rule) for block in blocks if block.quarantine_rule
    }
    for round_key, rule in sorted(rules):
        decisions.by_rule[round_key, rule] = _get_or_create_decision(round_key, rule)
    if watch:
        standing = standing_decisions().filter(poll_id__in={block.poll_id for block in blocks})
        for row in standing.order_by("pk"):
            decisions.standing.setdefault((row.poll_id, row.round), []).append(row)
    return decisions


def standing_decisions() -> QuerySet[Quarantine]:
    """Select the operators' decisions that may cover uncounted ballots."""
    return Quarantine.objects.filter(since__isnull=False, released_at=None)


def _get_or_create_decision(round_key: RoundKey, rule: str) -> int:
    """Return the id of the rule's unreleased decision for that round. Create a missing decision."""
    poll_id, round_ = round_key
    valid = Quarantine.objects.filter(poll_id=poll_id, round=round_, rule=rule, released_at=None)
    found = valid.values_list("pk", flat=True).first()
    if found is None:
        # If two workers create a decision at the same time, one worker waits here and then finds the other
        # worker's row.
        Quarantine.objects.bulk_create(
            [Quarantine(poll_id=poll_id, round=round_, rule=rule, decided_by=BY_RULE)], ignore_conflicts=True
        )
        found = valid.values_list("pk", flat=True).get()
    return found
