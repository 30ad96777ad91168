"""Compare the vote log with the checkpoints: find damage, and ballots that a repair would lose."""

import enum
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from django.conf import settings
from django.utils.module_loading import import_string

from analytics.counting import checkpoints
from analytics.counting.ballot_rows import VoterKey, lookups
from analytics.models import Checkpoint
from polls.errors import LogInconsistent, LogUnsuitable
from polls.models import Ballot, DeadLetter
from polls.votelog import get_log
from polls.votelog.contract import VoteLog
from polls.votelog.entries import Block, Head

_CHUNK = 5000  # ballots per read


class Damage(enum.StrEnum):
    """The damage of a partition, compared with its checkpoint."""

    NONE = "consistent"
    GONE = "gone"
    FOREIGN = "another log"
    BEHIND = "an older copy"
    GAP = "newer than the database"
    TAKEN_OVER = "to be taken over"
    FORCED = "consistent, to be rebuilt anyway"


@dataclass(frozen=True, slots=True)
class Finding:
    partition: int
    damage: Damage
    counted: int
    log_end: int | None

    @property
    def rebuilt(self) -> bool:
        return self.damage not in (Damage.NONE, Damage.GAP)

    @property
    def position(self) -> int:
        """The log's last position or the last counted position, whichever is higher."""
        return max(self.counted, self.log_end or 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The log's damage. If the checkpoints' generations differ later, the plan is out of date."""

    was: str
    now: str
    generations: dict[int, str]
    findings: list[Finding]
    uncounted: int | None  # None if the old log can't be read

    @property
    def log_changed(self) -> bool:
        return self.was != self.now

    @property
    def missing(self) -> int:
        """The number of entries that were trimmed, but not counted in this older copy of the database."""
        return sum(f.position - f.counted for f in self.findings if f.damage is Damage.GAP)

    @property
    def damaged(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.damage is not Damage.NONE]


def diagnose(*, rebuild_all: bool = False) -> Plan:
    """Compare log and checkpoints. Change nothing, but make the log if it is missing.

    With `rebuild_all`, plan to rebuild also the partitions that look consistent. An older copy of the log
    looks consistent if it lacks only uncounted ballots.
    """
    log = get_log()
    with suppress(LogInconsistent, LogUnsuitable):  # this function diagnoses such damage
        checkpoints.expected_heads()
    rows = list(Checkpoint.objects.order_by("partition"))
    was, now = f"{rows[0].log} × {len(rows)}", f"{log.name} × {log.partitions}"
    heads = log.heads()
    if was == now:
        findings = [_compare(log, row, heads.get(row.partition)) for row in rows]
        if rebuild_all:
            findings = [replace(f, damage=Damage.FORCED) if not f.rebuilt else f for f in findings]
        uncounted: int | None = sum(_uncounted_in(log, f) for f in findings if f.rebuilt)
    else:
        findings = _take_over(rows, heads, log.partitions)
        uncounted = count_uncounted(rows)
    return Plan(was, now, {row.partition: row.generation for row in rows}, findings, uncounted)


def _compare(log: VoteLog, row: Checkpoint, head: Head | None) -> Finding:
    if head is None:
        damage = Damage.GONE
    elif head.generation != row.generation:
        damage = Damage.FOREIGN
    elif head.position < row.position:
        damage = Damage.BEHIND
    else:
        # Only counted entries are trimmed. If the entry after the checkpoint is gone, the database is older
        # than the log.
        following = log.read(row.partition, row.position, 1)
        first = following[0].first if following else head.position + 1
        damage = Damage.GAP if first > row.position + 1 else Damage.NONE
        if damage is Damage.GAP:
            return Finding(row.partition, damage, row.position, first - 1)
    return Finding(row.partition, damage, row.position, head.position if head else None)


def _take_over(rows: Sequence[Checkpoint], heads: dict[int, Head], partitions: int) -> list[Finding]:
    counted = {row.partition: row.position for row in rows}
    return [
        Finding(n, Damage.TAKEN_OVER, counted.get(n, 0), heads[n].position if n in heads else None)
        for n in range(partitions)
    ]


def log_of(rows: Sequence[Checkpoint]) -> VoteLog:
    """Return the log that the checkpoints name. The settings may name another log by now."""
    log: VoteLog = import_string(settings.VOTE_LOG_BACKENDS[rows[0].log])()
    log.partitions = len(rows)
    return log


def count_uncounted(rows: Sequence[Checkpoint]) -> int | None:
    """Count the uncounted ballots in the checkpoints' log. Return None if the log can't be read."""
    try:
        log = log_of(rows)
        heads = log.heads()
        return sum(_uncounted_in(log, _compare(log, row, heads.get(row.partition))) for row in rows)
    except Exception:
        # The client of a store that is gone may raise any exception.
        return None


def _uncounted_in(log: VoteLog, finding: Finding) -> int:
    """Count the ballots in this partition that the database hasn't counted."""
    if finding.damage in (Damage.NONE, Damage.GAP):
        behind = _ballots_after(log, finding.partition, finding.counted)
        return sum(len(block) for blocks in behind for block in blocks)
    if finding.damage is Damage.GONE:
        return 0
    return sum(len(_voters_not_in_database(blocks)) for blocks in _ballots_after(log, finding.partition, 0))


def _ballots_after(log: VoteLog, partition: int, after: int) -> Iterator[list[Block]]:
    while blocks := log.read(partition, after, _CHUNK):
        yield [block for block in blocks if block.kind == "ballot"]
        after = blocks[-1].last


def _voters_not_in_database(blocks: Sequence[Block]) -> set[VoterKey]:
    """Return the voters of these ballots from whom the database has neither a ballot nor a dead letter."""
    voters = {(block.poll_id, block.round, voter_key) for block in blocks for voter_key in block.voter_keys}
    known: set[VoterKey] = set()
    for some in lookups(voters):
        for model in (Ballot, DeadLetter):
            rows = model.objects.filter(**some).values_list("poll_id", "round", "voter_key")
            known |= {(poll_id, round_, bytes(voter)) for poll_id, round_, voter in rows}
    return voters - known
