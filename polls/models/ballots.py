"""What became of ballots: the ledger of those that count, and those that can't be counted."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import BoundedDateTimeField


class Ballot(models.Model):
    """The ledger: counted ballots, at most one per (poll, round, voter).

    It holds no serial number, no time, no address and no account, so that it can't be
    joined to a person or an access log; and no foreign key, whose check would cost a
    lookup a ballot.
    """

    pk = models.CompositePrimaryKey("poll_id", "round", "voter_key")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    voter_key = models.BinaryField(max_length=16)
    ballot_id = models.BinaryField(max_length=16)
    selection = models.CharField(max_length=400)
    # The decision by which it counts in the second tally (analytics.Quarantine); null: in the first.
    quarantine_id = models.BigIntegerField(null=True)
    # The decision that it was last released from; null: none ever set it aside.
    released_from = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("ballot")
        verbose_name_plural = _("ballots")
        indexes = [
            # Of few rows, and so of no cost to the others: what a decision has set aside is found at once.
            models.Index(
                fields=["quarantine_id", "voter_key"],
                condition=models.Q(quarantine_id__isnull=False),
                name="ballot_quarantined",
            ),
            models.Index(
                fields=["released_from"],
                condition=models.Q(released_from__isnull=False),
                name="ballot_released",
            ),
        ]


class DeadLetter(models.Model):
    """A log entry that couldn't be counted, set aside with its reason until somebody decides."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        COUNTED = "counted", _("Counted")
        REJECTED = "rejected", _("Rejected")

    partition = models.PositiveSmallIntegerField()
    position = models.BigIntegerField()
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    voter_key = models.BinaryField(max_length=16, editable=False)
    ballot_id = models.BinaryField(max_length=16, editable=False)
    selection = models.CharField(max_length=400, editable=False)
    replaces = models.BinaryField(max_length=16, null=True, editable=False)
    aside = models.CharField(max_length=20, default="", editable=False)
    reason = models.CharField(_("reason"), max_length=40)
    detail = models.TextField(_("detail"), blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING, db_index=True)
    # By the vote log's clock; null where that isn't known.
    accepted_at = BoundedDateTimeField(_("accepted at"), null=True)
    set_aside_at = BoundedDateTimeField(auto_now_add=True)
    settled_at = BoundedDateTimeField(null=True)
    settled_by = models.CharField(max_length=150, blank=True)

    class Meta:
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        ordering = ["-id"]
        indexes = [models.Index(fields=["poll_id", "round", "voter_key"], name="deadletter_voter")]

    def __str__(self) -> str:
        return f"{self.partition}:{self.position} {self.reason}"
