"""The tables of the `database` vote log. Only polls.votelog.database uses these tables."""

from django.db import models


class LogHead(models.Model):
    partition = models.PositiveSmallIntegerField(primary_key=True)
    generation = models.CharField(max_length=32)
    position = models.BigIntegerField(default=0)


class LogEntry(models.Model):
    position = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=6)
    poll_id = models.BigIntegerField()
    round = models.PositiveSmallIntegerField()
    at = models.BigIntegerField()
    voter_key = models.BinaryField(max_length=16)
    ballot_id = models.BinaryField(max_length=16)
    selection = models.CharField(max_length=400)
    replaces = models.BinaryField(max_length=16, null=True)
    quarantine_rule = models.CharField(max_length=20, default="", db_column="aside")


class Claim(models.Model):
    pk = models.CompositePrimaryKey("poll_id", "voter_key")
    poll_id = models.BigIntegerField()
    voter_key = models.BinaryField(max_length=16)
    record = models.BinaryField()


class LogGate(models.Model):
    poll_id = models.BigIntegerField(primary_key=True)
    packed = models.CharField(max_length=120)
