"""Polls, choices and rounds."""

import secrets
import unicodedata

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from polls import keys
from polls.methods import Method, MethodRules, get_method, make_rules, method_choices
from polls.text.plain_text import isolated

from .fields import BoundedDateTimeField, SearchField

#: Without 0/O, 1/I/L, 2/Z, 5/S, 8/B and U/V, because people read a code from a screen and type it.
CODE_ALPHABET = "ACDEFGHJKMNPQRTWXY34679"
CODE_LENGTH = 6
_TO_99 = [MinValueValidator(1), MaxValueValidator(99)]
CODE_RULE = _("3 to 16 letters A–Z and digits.")


def new_code() -> str:
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))


#: The dotted and dotless i of Turkish keyboards.
_DOTTED = str.maketrans("İı", "II")


def canonical_code(text: str) -> str:
    """Normalize a code as typed: spaces, dashes, lower case, full-width letters, digits of any script.

    Returns "" for a text with letters of other scripts, because dropping them would make a different code.
    The result is ASCII letters and digits, so no query contains NUL, which PostgreSQL refuses.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_DOTTED))
        text = "".join(str(unicodedata.decimal(letter, letter)) for letter in text)
        if any(not letter.isascii() and unicodedata.category(letter)[0] in "LMN" for letter in text):
            return ""
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


class Identity(models.TextChoices):
    """Who may vote, and what counts as one voter. The labels promise no more than the policy enforces."""

    BROWSER = "browser", _("Open: one ballot per browser")
    LOGIN = "login", _("Signed in: one ballot per account")
    INVITE = "invite", _("By invitation: one ballot per invite")
    CLIENT = "client", _("By API: voters named by an API client")


class OverLimit(models.TextChoices):
    """What to do with ballots from an address or network over its rate limit."""

    REFUSE = "refuse", _("Refuse them for a moment")
    QUARANTINE = "quarantine", _("Accept and quarantine them")


class ProofOfWork(models.TextChoices):
    OFF = "off", _("Never")
    AUTO = "auto", _("While an attack is suspected")
    ON = "on", _("Always")


class ReceiptFormat(models.IntegerChoices):
    """How the receipts of a poll's ballots are encrypted (polls/casting/receipts.py)."""

    BLAKE2_SIV = 1  # polls made before AES_SIV
    AES_SIV = 2


class Poll(models.Model):
    """A question with its rules and time window. Only `polls.lifecycle` changes `state`."""

    code = models.CharField(
        _("code"),
        max_length=16,
        unique=True,
        default=new_code,
        validators=[RegexValidator(r"^[A-Z0-9]{3,16}$", CODE_RULE)],
        help_text=_("What people type to join."),
    )
    question = models.CharField(_("question"), max_length=300)
    method = models.CharField(_("method"), max_length=20, choices=method_choices, default="single")
    min_selections = models.PositiveSmallIntegerField(_("minimum selections"), default=1, validators=_TO_99)
    max_selections = models.PositiveSmallIntegerField(_("maximum selections"), default=1, validators=_TO_99)
    # The method's Config, complete: what an organiser can set besides choices and limits.
    config = models.JSONField(default=dict, editable=False)
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
        help_text=_("Roughly how many voters you expect. The poll accepts more."),
    )
    identity = models.CharField(_("who may vote"), max_length=10, choices=Identity, default=Identity.BROWSER)
    venue_networks = models.JSONField(
        _("venue networks"),
        default=list,
        blank=True,
        help_text=_(
            "Networks of halls and offices, such as 198.51.100.0/24: many voters share an address there."
        ),
    )
    over_limit = models.CharField(
        _("ballots over the rate limit"), max_length=10, choices=OverLimit, default=OverLimit.REFUSE
    )
    proof_of_work = models.CharField(
        _("proof of work"),
        max_length=10,
        choices=ProofOfWork,
        default=ProofOfWork.AUTO,
        help_text=_("The voter's browser computes for about a second before it casts."),
    )
    release_step = models.PositiveSmallIntegerField(
        _("result step"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_(
            "While the poll is open, its results update in steps of this many ballots, so that watching the"
            " screen reveals nobody's vote. 1: with every ballot."
        ),
    )
    opens_at = BoundedDateTimeField(_("opens at"), null=True, blank=True)
    closes_at = BoundedDateTimeField(_("closes at"), null=True, blank=True)

    state = models.CharField(max_length=10, choices=State, default=State.DRAFT, editable=False, db_index=True)
    round = models.PositiveSmallIntegerField(default=1, editable=False)
    # Viewers order updates by epoch and revision. Resets and recounts increment epoch. Other visible changes
    # increment revision.
    epoch = models.PositiveIntegerField(default=1, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    # False from the commit of a step until the vote log's gates are set. The sweep sets missing gates.
    gates_set = models.BooleanField(default=True, editable=False)
    # If `proof_of_work` is auto, ballots need a proof until this time, because of an anomaly.
    proof_until = BoundedDateTimeField(null=True, editable=False)
    secret = models.BinaryField(default=new_secret, editable=False)
    # The fingerprint of the SECRET_KEY that makes this round's voter_keys (keys.voter_secret).
    secret_key_fingerprint = models.CharField(
        max_length=32, default=keys.newest_fingerprint, blank=True, editable=False, db_column="voters_by"
    )
    receipt_format = models.PositiveSmallIntegerField(default=ReceiptFormat.AES_SIV, editable=False)
    search_text = SearchField(of=("question", "code"))
    created_at = BoundedDateTimeField(auto_now_add=True)
    closed_at = BoundedDateTimeField(null=True, editable=False)
    published_at = BoundedDateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("poll")
        verbose_name_plural = _("polls")
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="poll_newest")]

    def __str__(self) -> str:
        return f"{isolated(self.question)} ({self.code})"

    def voter_secret(self) -> bytes:
        """Return the secret for this round's voter_keys and passes; may raise SecretKeyDiffers."""
        return keys.voter_secret(bytes(self.secret), self.secret_key_fingerprint)

    def method_rules(self) -> MethodRules:
        numbers = [choice.number for choice in self.choices.all()]
        method = get_method(self.method)
        return make_rules(method, numbers, self.min_selections, self.max_selections, self.config)


class Choice(models.Model):
    """An option of a poll. Once voters have seen it, its number is never reused within the poll.

    `position` is its place on the page, which may change from round to round while the number stays.
    """

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="choices")
    number = models.PositiveSmallIntegerField(editable=False, validators=_TO_99)
    position = models.PositiveSmallIntegerField(default=0, editable=False)
    label = models.CharField(_("label"), max_length=200)

    class Meta:
        verbose_name = _("choice")
        verbose_name_plural = _("choices")
        ordering = ["position", "number"]
        constraints = [models.UniqueConstraint(fields=["poll", "number"], name="choice_number_once")]

    def __str__(self) -> str:
        return self.label


class Round(models.Model):
    """One run of a poll, with its result. The round is kept when the poll is reset.

    `rules` are frozen at opening. A late ballot of this round is validated by them, even if the poll has
    changed since. The keys are method, numbers, least and most, config if the method has one, and step if
    results are shown in steps. The audit bundle also uses revote and identity.
    """

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="rounds")
    number = models.PositiveSmallIntegerField()
    question = models.CharField(max_length=300, default="")
    opened_at = BoundedDateTimeField()
    closed_at = BoundedDateTimeField(null=True)
    rules = models.JSONField()
    result = models.JSONField(null=True)
    # When the round's result was published to everybody. The reset that ends the round sets it.
    made_public_at = BoundedDateTimeField(null=True)
    # When the round's voter keys were destroyed. Since then nobody can link its ballots to voters.
    purged_at = BoundedDateTimeField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["poll", "number"], name="round_once")]

    def __str__(self) -> str:
        return f"{self.poll_id} · {self.number}"

    def method_rules(self) -> MethodRules:
        rules = self.rules
        config = rules.get("config", {})
        return make_rules(self.method, rules["numbers"], rules["least"], rules["most"], config)

    @property
    def method(self) -> Method:
        """The method of the round; may raise KeyError, if another version opened it."""
        return get_method(self.rules["method"])

    @property
    def release_step(self) -> int:
        return int(self.rules.get("step", 1))
