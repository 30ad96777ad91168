"""How far each partition is counted, and what the counting came to."""

from __future__ import annotations

from django.db import models


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
    trim_noted_at = models.DateTimeField(null=True)


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
    seen_at = models.DateTimeField()
