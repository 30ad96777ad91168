"""How far each partition is counted, and what the counting came to."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from polls.models.fields import BoundedDateTimeField
from polls.text.plain_text import isolated


class Checkpoint(models.Model):
    """How far a partition of the vote log is counted: in the same transaction as its result.

    It also names the log it belongs to, so that another or an older one is noticed.
    """

    partition = models.PositiveSmallIntegerField(primary_key=True)
    log = models.CharField(max_length=20)
    generation = models.CharField(max_length=32)
    made = models.BooleanField(default=False)
    position = models.BigIntegerField(default=0)
    # What was counted by `trim_noted_at`, and may be trimmed a minute later.
    trim_to = models.BigIntegerField(default=0)
    trim_noted_at = BoundedDateTimeField(null=True)
    # Whether a batch has to look for standing quarantines and halted polls. Read with the row that it locks
    # anyway, and set by whoever makes one, under the same lock.
    watch = models.BooleanField(default=True)


class Tally(models.Model):
    """A slot of a count. Only the worker that holds the partition writes it, so no row is hot.

    key: what the poll's method says it is (for choices, the number), or "ballots".
    changes: how often the slot was written; their sum is the tally's version.
    """

    pk = models.CompositePrimaryKey("poll_id", "round", "key", "partition")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=100)
    partition = models.PositiveSmallIntegerField()
    count = models.BigIntegerField()
    changes = models.BigIntegerField()


class TallyPoint(models.Model):
    """What was accepted in one second: the tally's history, for charts."""

    pk = models.CompositePrimaryKey("poll_id", "round", "second", "key", "partition")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    second = models.BigIntegerField()  # since the epoch, by the vote log's clock
    key = models.CharField(max_length=100)
    partition = models.PositiveSmallIntegerField()
    count = models.BigIntegerField()


class Pulse(models.Model):
    """When something that should happen again and again was last seen: a worker, the sweep."""

    name = models.CharField(max_length=200, primary_key=True)
    seen_at = BoundedDateTimeField()


class Quarantine(models.Model):
    """A decision to count ballots apart, in the second tally: by whom or what, and why.

    since, until: milliseconds by the vote log's clock. With `since` the decision stands: it takes in what
    was accepted from then on, as it is counted, until `until` or its release.
    moved_at: when the last of a released decision's ballots was back in the first tally.
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
    """A poll whose ballots are held instead of counted, since most of them failed.

    resumed_by: who had them counted all the same, until the last of them is. let_fail: what fails then
    becomes a dead letter, even if it is most of it.
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
    """Log entries of a halted poll, in the columns they had in the log, until somebody resumes counting."""

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
    """What viewers may see of a poll whose tally moves in steps: the released counts, and the next ones.

    The next ones are released once as many ballots more are counted, so that the last step, which
    closing makes, is no smaller than the others.
    """

    pk = models.CompositePrimaryKey("poll_id", "round")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    counts = models.JSONField(default=dict)
    version = models.BigIntegerField(default=0)
    next_counts = models.JSONField(default=dict)
    next_version = models.BigIntegerField(default=0)


class AuditBundle(models.Model):
    """Where the audit bundle of a published round lies."""

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
