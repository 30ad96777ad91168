"""The ledger of counted ballots, and the dead letters."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import BoundedDateTimeField


class Ballot(models.Model):
    """A counted ballot. The table is the ledger: at most one row per (poll, round, voter).

    A row has no serial number, time, address or account, so that it can't be joined to a person or an access
    log. There is no foreign key either, because checking it would cost a lookup per ballot.
    """

    pk = models.CompositePrimaryKey("poll_id", "round", "voter_key")
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    voter_key = models.BinaryField(max_length=16)
    ballot_id = models.BinaryField(max_length=16)
    selection = models.CharField(max_length=400)
    # The quarantine (analytics.Quarantine) whose tally counts this ballot; null: the main tally counts it.
    quarantine_id = models.BigIntegerField(null=True)
    # The quarantine that the ballot was last released from; null: it has never been released.
    released_from = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("ballot")
        verbose_name_plural = _("ballots")
        indexes = [
            # Partial indexes: they find a quarantine's ballots, and cost nothing for all other ballots.
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
    """A log entry that couldn't be counted, kept with the reason until somebody decides."""

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
    quarantine_rule = models.CharField(max_length=20, default="", db_column="aside", editable=False)
    reason = models.CharField(_("reason"), max_length=40)
    detail = models.TextField(_("detail"), blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING, db_index=True)
    # A time by the vote log's clock; null if it is unknown.
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
