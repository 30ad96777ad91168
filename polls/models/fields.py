"""Our model fields. To the database and to migrations, these fields are plain columns."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models

from polls.text.plain_text import folded
from polls.text.timestamps import clamped, validate_bounds


class SearchField(models.TextField):
    """A search text of the fields in `of`, case-folded in Python so that all databases compare alike."""

    def __init__(self, of: Sequence[str] = (), **options: Any) -> None:
        self.of = of
        options.setdefault("default", "")
        options.setdefault("editable", False)
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        text = "\n".join(folded(getattr(model_instance, name)) for name in self.of)
        setattr(model_instance, self.attname, text)
        return text


class BoundedDateTimeField(models.DateTimeField):
    """A time within the bounds of `polls.text.timestamps`. A time outside them counts as the nearest bound.

    Forms refuse times outside the bounds. But scripts and earlier versions may have stored such times, and
    filters may contain any time. No list may fail because of such a time.
    """

    default_validators = [validate_bounds]

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_prep_value(self, value: Any) -> Any:
        moment = super().get_prep_value(value)
        return moment and clamped(moment)

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        return value and clamped(value)
