"""Models of counting: checkpoints, tallies and their history, quarantines, halted polls, audit bundles."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from polls.models.fields import BoundedDateTimeField
from polls.text.plain_text import isolated


class Checkpoint(models.Model):
    """How far a partition of the vote log is counted. The transaction that counts a batch also updates it.

    The row also names the log and its generation, so that another log or an older copy is noticed.
    """

    partition = models.PositiveSmallIntegerField(primary_key=True)
    log = models.CharField(max_length=20)
    generation = models.CharField(max_length=32)
    made = models.BooleanField(default=False)
    position = models.BigIntegerField(default=0)
    # The position at `trim_noted_at`. A minute later, the log may be trimmed up to this position.
    trim_to = models.BigIntegerField(default=0)
    trim_noted_at = BoundedDateTimeField(null=True)
    # Whether a batch has to check for standing quarantines and halted polls. The flag is here because a batch
    # reads this row anyway. The flag is set under the row's lock when a standing quarantine is made or a poll
    # halts.
    watch = models.BooleanField(default=True)


class Tally(models.Model):
    """A counter of a tally, in one partition. Only the partition's worker writes it, so no worker waits.

    key: a name that the poll's method gives (for a choice, its number), or "ballots".
    changes: how often the counter was written. The sum of `changes` over all counters of a tally is the
    tally's version.
    """

    pk = models.CompositePrimaryKey("poll_id", "round", "key", "partition")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=100)
    partition = models.PositiveSmallIntegerField()
    count = models.BigIntegerField()
    changes = models.BigIntegerField()


class TallyPoint(models.Model):
    """The change of a counter by the ballots accepted in one second, for charts of a tally's history."""

    pk = models.CompositePrimaryKey("poll_id", "round", "second", "key", "partition")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    second = models.BigIntegerField()  # Unix time, by the vote log's clock
    key = models.CharField(max_length=100)
    partition = models.PositiveSmallIntegerField()
    count = models.BigIntegerField()


class Pulse(models.Model):
    """When a worker or the sweep last recorded a heartbeat."""

    name = models.CharField(max_length=200, primary_key=True)
    seen_at = BoundedDateTimeField()


class Quarantine(models.Model):
    """A decision to quarantine ballots, that is, to count them in the second tally.

    since, until: milliseconds by the vote log's clock. A decision with `since` is a standing decision. A
    standing decision covers all ballots accepted from `since` on, until `until` or its release.
    moved_at: when the last ballot of a released decision was moved back to the first tally.
    """

    class Rule(models.TextChoices):
        OPERATOR = "operator", _("A person decided")
        OVER_LIMIT = "over_limit", _("More than the rate limit from one address or network")

    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    rule = models.CharField(_("rule"), max_length=20, choices=Rule)
    reason = models.TextField(_("reason"))
    decided_by = models.CharField(_("decided by"), max_length=200)
    decided_at = BoundedDateTimeField(auto_now_add=True)
    released_at = BoundedDateTimeField(null=True)
    released_by = models.CharField(max_length=200, blank=True)
    since = models.BigIntegerField(null=True)
    until = models.BigIntegerField(null=True)
    moved_at = BoundedDateTimeField(null=True)

    class Meta:
        verbose_name = _("quarantine")
        verbose_name_plural = _("quarantines")
        ordering = ["-id"]
        indexes = [models.Index(fields=["poll_id", "round"], name="quarantine_round")]
        constraints = [
            models.UniqueConstraint(
                fields=["poll_id", "round", "rule"],
                condition=models.Q(released_at=None) & ~models.Q(rule="operator"),
                name="quarantine_once_a_rule",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_rule_display()}: {isolated(self.reason)}"


class Halt(models.Model):
    """A poll whose ballots are held instead of counted, because most of them failed.

    resumed_by: who resumed the counting. The row stays until the last held ballot is counted.
    let_fail: whether failing held ballots become dead letters, even if most of the ballots fail.
    """

    poll_id = models.BigIntegerField(primary_key=True)
    reason = models.TextField(_("reason"))
    halted_at = BoundedDateTimeField(_("halted"), auto_now_add=True)
    resumed_by = models.CharField(max_length=200, blank=True)
    let_fail = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("halted poll")
        verbose_name_plural = _("halted counting")

    def __str__(self) -> str:
        return self.reason


class HeldBlock(models.Model):
    """Ballots of a halted poll, in the columns they have in the log, until counting is resumed."""

    partition = models.PositiveSmallIntegerField()
    first = models.BigIntegerField()
    poll_id = models.BigIntegerField(db_index=True)
    round = models.PositiveSmallIntegerField()
    at = models.BigIntegerField()
    ballots = models.PositiveIntegerField()
    columns = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["partition", "first"], name="held_once")]


class Release(models.Model):
    """A round's stepped results: the counts that viewers see, and the counts of the next step."""

    pk = models.CompositePrimaryKey("poll_id", "round")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    counts = models.JSONField(default=dict)
    version = models.BigIntegerField(default=0)
    next_counts = models.JSONField(default=dict)
    next_version = models.BigIntegerField(default=0)


class AuditBundle(models.Model):
    """The audit bundle of a published round: where its file is."""

    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    epoch = models.PositiveIntegerField()
    made_at = BoundedDateTimeField(auto_now_add=True)
    file = models.CharField(max_length=200)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["poll_id", "round", "epoch"], name="bundle_once")]
