"""The audit log's table. Admin addresses and permission codenames keep the model's name, Record."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from polls.models.fields import BoundedDateTimeField


class Record(models.Model):
    """One action of an admin, an API client or a command. The database refuses to change or delete a row.

    digest: SHA-256 of the row and the previous row's digest, which makes gaps visible.
    """

    at = BoundedDateTimeField()
    actor = models.CharField(_("who"), max_length=200)
    action = models.CharField(_("what"), max_length=60)
    poll_code = models.CharField(_("poll"), max_length=16, blank=True)
    detail = models.JSONField(_("detail"), default=dict)
    digest = models.CharField(max_length=64)

    class Meta:
        verbose_name = _("audit record")
        verbose_name_plural = _("audit records")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.poll_code}".rstrip()
