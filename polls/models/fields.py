"""Model fields that hold what people gave. The database sees plain columns, and so do migrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models

from polls.moments import check_window, clamped


class MomentField(models.DateTimeField):
    """A time inside the window of `polls.moments`; what is stored outside it is read as its nearest end.

    A row may be older than the window, or come from a script: no list may break over it.
    """

    default_validators = [check_window]

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        return value and clamped(value)
