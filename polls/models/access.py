"""Access: API clients, ended accounts, invites, and the fingerprint of the SECRET_KEY."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from rest_framework_api_key.models import AbstractAPIKey, APIKeyManager

from .fields import BoundedDateTimeField
from .poll import Poll


class ApiClientManager(APIKeyManager):
    def assign_key(self, obj: AbstractAPIKey) -> str:
        """Use the key's prefix as id. The library's id contains the key's hash, and ids appear in URLs."""
        key: str = super().assign_key(obj)
        obj.id = obj.prefix
        return key


class ApiClient(AbstractAPIKey):
    """A third party with an API key and its scopes. Only a hash of the key is stored."""

    class Scope(models.TextChoices):
        POLLS_READ = "polls:read", _("read polls")
        POLLS_WRITE = "polls:write", _("create and run polls")
        BALLOTS_WRITE = "ballots:write", _("cast ballots")
        METRICS_READ = "metrics:read", _("read how long accepting and counting take, in the metrics")

    objects: ClassVar[APIKeyManager] = ApiClientManager()

    scopes = models.JSONField(_("scopes"), default=list)
    # The same fields as in the library, but as BoundedDateTimeField.
    created = BoundedDateTimeField(auto_now_add=True, db_index=True)
    expiry_date = BoundedDateTimeField(
        blank=True,
        null=True,
        verbose_name=_("Expires"),
        help_text=_("Once API key expires, clients cannot use it anymore."),
    )

    class Meta(AbstractAPIKey.Meta):
        verbose_name = _("API client")  # type: ignore[assignment]  # the library's are plain strings
        verbose_name_plural = _("API clients")  # type: ignore[assignment]

    def allows(self, scope: str) -> bool:
        return scope in self.scopes


class EndedAccount(models.Model):
    """An account that was recently deleted or deactivated (polls/voters/ended_accounts.py)."""

    user_id = models.BigIntegerField(primary_key=True)
    at = BoundedDateTimeField()


class InviteBatch(models.Model):
    """A batch of `count` invites. Single invites aren't stored (polls/voters/invites.py)."""

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="invite_batches")
    label = models.CharField(_("label"), max_length=100, blank=True)
    count = models.PositiveIntegerField(
        _("invites"), validators=[MinValueValidator(1), MaxValueValidator(1_000_000)]
    )
    made_at = BoundedDateTimeField(auto_now_add=True)
    made_by = models.CharField(max_length=150, blank=True)
    revoked_at = BoundedDateTimeField(null=True)
    revoked_by = models.CharField(max_length=150, blank=True)

    class Meta:
        verbose_name = _("batch of invites")
        verbose_name_plural = _("batches of invites")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.label or f"{self.count} × {self.poll_id}"


class Installation(models.Model):
    """A single row with the fingerprint of the SECRET_KEY that all processes share (polls/secret_key.py)."""

    secret_key_fingerprint = models.CharField(max_length=32, db_column="secret_key")
