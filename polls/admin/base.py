"""The base class of our admin pages, and a form field for times in the server's time zone."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import DataError, models
from django.forms.widgets import Script
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSplitDateTimeWidget


class TimeWidget(UnfoldAdminSplitDateTimeWidget):
    """Pass the server's time zone to the page's script, which also shows the time in the organiser's zone."""

    class Media:
        js = [Script("js/admin/times.js", type="module")]

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        for part in self.widgets:
            part.attrs["data-zone"] = timezone.get_default_timezone_name()


class TimeField(forms.SplitDateTimeField):
    """A date and time in the server's time zone, which keeps an unchanged value to the microsecond.

    The form shows no fractions of a second. When the clocks go back, an hour occurs twice, and the form can't
    tell which is meant. The stored value is therefore kept if the field is unchanged.
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
            text = _("The clocks change then, so this time occurs twice or not at all. Choose another time.")
            raise ValidationError(text, code=error.code) from None


class Admin(ModelAdmin):
    """Base class of the admin of each of our models."""

    warn_unsaved_form = True

    def page(self, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
        """Render one of our templates as an admin page."""
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, {**shared, **context})

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **options: Any) -> Any:
        if isinstance(db_field, models.DateTimeField):
            options = {"form_class": TimeField, "widget": TimeWidget} | options
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None:
            # Browsers would count an emoji as two characters, and truncate silently.
            field.widget.attrs.pop("maxlength", None)
        return field

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Treat a filter value that the database can't process, such as the year 99999, as invalid."""
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError, DataError) as error:
            raise IncorrectLookupParameters(error) from None

    def confirmation(self, request: HttpRequest, **context: Any) -> TemplateResponse:
        """Return the page that asks for confirmation of a step."""
        return self.page(request, "admin/confirm.html", **context)


class ReadOnlyAdmin(Admin):
    """The admin of rows that no form adds, changes or deletes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
