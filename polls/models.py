"""Polls, their choices and rounds, the ledger of counted ballots, and the database log's tables."""

from __future__ import annotations

import secrets

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from rest_framework_api_key.models import AbstractAPIKey

from .methods import MethodRules, method_choices

#: No 0/O, 1/I/L, 2/Z, 5/S, 8/B, U/V: a code is read from a screen and typed on a phone.
CODE_ALPHABET = "ACDEFGHJKMNPQRTWXY34679"
CODE_LENGTH = 6


def new_code() -> str:
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))


def canonical_code(text: str) -> str:
    """A code as typed (spaces, dashes, lower case) in the form in which it is stored.

    Nothing else stays in, so the database is never asked for a text that it can't hold (PostgreSQL: NUL).
    """
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum()).upper()


def new_secret() -> bytes:
    return secrets.token_bytes(32)


class State(models.TextChoices):
    DRAFT = "draft", _("Draft")
    OPEN = "open", _("Open")
    CLOSING = "closing", _("Closing")
    CLOSED = "closed", _("Closed")
    PUBLISHED = "published", _("Published")


class Visibility(models.TextChoices):
    ALWAYS = "always", _("Always")
    AFTER_VOTE = "after_vote", _("After one's own vote")
    AFTER_CLOSE = "after_close", _("After closing")
    STAFF = "staff", _("Staff only")


class Poll(models.Model):
    """A question, its rules and time window. Only `polls.lifecycle` changes `state` and what hangs on it."""

    code = models.CharField(
        _("code"),
        max_length=16,
        unique=True,
        default=new_code,
        validators=[RegexValidator(r"^[A-Z0-9]{3,16}$", _("3 to 16 letters A–Z and digits."))],
        help_text=_("What people type to join."),
    )
    question = models.CharField(_("question"), max_length=300)
    method = models.CharField(_("method"), max_length=20, choices=method_choices, default="single")
    min_selections = models.PositiveSmallIntegerField(
        _("least selections"), default=1, validators=[MinValueValidator(1), MaxValueValidator(99)]
    )
    max_selections = models.PositiveSmallIntegerField(
        _("most selections"), default=1, validators=[MinValueValidator(1), MaxValueValidator(99)]
    )
    revote = models.BooleanField(
        _("voters may change their ballot"),
        default=False,
        help_text=_("The new ballot replaces the old one."),
    )
    results_visible = models.CharField(
        _("results visible"), max_length=20, choices=Visibility, default=Visibility.ALWAYS
    )
    expected_turnout = models.PositiveIntegerField(
        _("expected turnout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000_000)],
        help_text=_("About how many voters you expect. The poll takes more all the same."),
    )
    opens_at = models.DateTimeField(_("opens at"), null=True, blank=True)
    closes_at = models.DateTimeField(_("closes at"), null=True, blank=True)

    state = models.CharField(max_length=10, choices=State, default=State.DRAFT, editable=False, db_index=True)
    round = models.PositiveSmallIntegerField(default=1, editable=False)
    # What viewers order by: epoch grows with a reset or recount, revision with anything they see but votes.
    epoch = models.PositiveIntegerField(default=1, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    # False between a committed intent and the vote log's gates following it; the sweep finishes it.
    gates_set = models.BooleanField(default=True, editable=False)
    next_number = models.PositiveSmallIntegerField(default=1, editable=False)
    secret = models.BinaryField(default=new_secret, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, editable=False)
    published_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("poll")
        verbose_name_plural = _("polls")
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="poll_newest")]

    def __str__(self) -> str:
        return f"{self.question} ({self.code})"

    def method_rules(self) -> MethodRules:
        numbers = frozenset(choice.number for choice in self.choices.all())
        return MethodRules(numbers, self.min_selections, self.max_selections)


class Choice(models.Model):
    """Something that can be selected. Its number is never reused within the poll."""

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="choices")
    number = models.PositiveSmallIntegerField(
        editable=False, validators=[MinValueValidator(1), MaxValueValidator(99)]
    )
    label = models.CharField(_("label"), max_length=200)

    class Meta:
        verbose_name = _("choice")
        verbose_name_plural = _("choices")
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["poll", "number"], name="choice_number_once")]

    def __str__(self) -> str:
        return self.label


class Round(models.Model):
    """One run of a poll; kept when the poll is reset and run again, with the result it had.

    `rules` are frozen at opening, so that a late ballot of this round is judged by them
    even when the poll has been changed since: {"method", "numbers", "least", "most"}.
    """

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="rounds")
    number = models.PositiveSmallIntegerField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    rules = models.JSONField()
    result = models.JSONField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["poll", "number"], name="round_once")]

    def __str__(self) -> str:
        return f"{self.poll_id} · {self.number}"

    def method_rules(self) -> MethodRules:
        return MethodRules(frozenset(self.rules["numbers"]), self.rules["least"], self.rules["most"])


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

    class Meta:
        verbose_name = _("ballot")
        verbose_name_plural = _("ballots")


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
    reason = models.CharField(_("reason"), max_length=40)
    detail = models.TextField(_("detail"), blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING, db_index=True)
    set_aside_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True)
    settled_by = models.CharField(max_length=150, blank=True)

    class Meta:
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        ordering = ["-id"]
        indexes = [models.Index(fields=["poll_id", "round", "voter_key"], name="deadletter_voter")]

    def __str__(self) -> str:
        return f"{self.partition}:{self.position} {self.reason}"


class ApiClient(AbstractAPIKey):
    """A third party's key, hashed at rest, with what it may do."""

    class Scope(models.TextChoices):
        POLLS_READ = "polls:read", _("read polls")
        POLLS_WRITE = "polls:write", _("create and run polls")
        BALLOTS_WRITE = "ballots:write", _("cast ballots")

    scopes = models.JSONField(_("scopes"), default=list)

    class Meta(AbstractAPIKey.Meta):
        verbose_name = _("API client")  # type: ignore[assignment]  # the library's are plain strings
        verbose_name_plural = _("API clients")  # type: ignore[assignment]

    def allows(self, scope: str) -> bool:
        return scope in self.scopes


# The `database` vote log's own tables. Nothing but polls.votelog.database touches them.


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


class Claim(models.Model):
    pk = models.CompositePrimaryKey("poll_id", "voter_key")
    poll_id = models.BigIntegerField()
    voter_key = models.BinaryField(max_length=16)
    record = models.BinaryField()


class LogGate(models.Model):
    poll_id = models.BigIntegerField(primary_key=True)
    packed = models.CharField(max_length=120)
