"""Model fields that hold what people gave. The database sees plain columns, and so do migrations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models

from polls.text.plain_text import folded
from polls.text.timestamps import check_window, clamped


class SearchField(models.TextField):
    """What a row is found by: the named fields, folded in Python, so that every database compares alike."""

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
    """A time inside the window of `polls.text.timestamps`: one outside is read and compared as its end.

    Forms refuse such a time. But a row may be older than the window, or come from a script, and a filter may
    ask for any: no list may break over it.
    """

    default_validators = [check_window]

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_prep_value(self, value: Any) -> Any:
        moment = super().get_prep_value(value)
        return moment and clamped(moment)

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        return value and clamped(value)
