"""What the pages of the admin have in common: inputs that cut nothing, and times that say their zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import DataError, models
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSplitDateTimeWidget


class TimeWidget(UnfoldAdminSplitDateTimeWidget):
    """Tells the page's script the zone, which says what time that is where the organiser is."""

    class Media:
        js = [Script("js/admin/times.js", type="module")]

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        for part in self.widgets:
            part.attrs["data-zone"] = timezone.get_default_timezone_name()


class TimeField(forms.SplitDateTimeField):
    """A date and a time by the server's zone. What nobody touched stays as it is, to the microsecond.

    A form shows neither fractions of a second nor which of the two hours is meant where the clocks are put
    back, so what it sends can't be read as what was stored.
    """

    widget = TimeWidget

    def __init__(self, *, help_text: Any = "", **options: Any) -> None:
        zone = gettext_lazy("Time zone: %s.") % timezone.get_default_timezone_name()
        super().__init__(help_text=format_lazy("{} {}", help_text, zone) if help_text else zone, **options)

    def _clean_bound_field(self, bound: Any) -> Any:
        stored = bound.form.initial.get(bound.name)
        if isinstance(stored, datetime) and bound.name not in bound.form.changed_data:
            return stored
        return super()._clean_bound_field(bound)  # type: ignore[misc]

    def compress(self, data_list: Any) -> Any:
        try:
            return super().compress(data_list)
        except ValidationError as error:
            if error.code != "ambiguous_timezone":
                raise
            text = _("The clocks change then, so this time comes twice or not at all. Take another one.")
            raise ValidationError(text, code=error.code) from None


class Admin(ModelAdmin):
    """unfold's, for each of our models."""

    warn_unsaved_form = True

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **options: Any) -> Any:
        if isinstance(db_field, models.DateTimeField):
            options = {"form_class": TimeField, "widget": TimeWidget} | options
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None:
            # Browsers count an emoji as two, and drop what is over without a word. The form's error says both
            # the limit and the length.
            field.widget.attrs.pop("maxlength", None)
        return field

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """A filter in the address that no database can ask for, such as a year 99999, is a wrong filter."""
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError, DataError) as error:
            raise IncorrectLookupParameters(error) from None
