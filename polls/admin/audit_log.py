"""The audit log in the admin, read-only."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import display

from polls.admin.base import ReadOnlyAdmin
from polls.admin.search import FoldedSearch
from polls.audit_log import record, user_actor
from polls.models import Record
from polls.text.plain_text import isolated
from polls.text.truncation import shortened

FIELDS = ("at", "actor", "action", "poll_code", "details", "digest")
DETAIL_IN_LIST = 60  # two lines on a phone


@admin.register(Record)
class RecordAdmin(FoldedSearch, ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "poll_code", "short_detail")
    list_filter = (("action", AllValuesCheckboxFilter), ("at", RangeDateTimeFilter))
    list_filter_submit = True
    list_per_page = 100
    search_fields = ("actor", "poll_code")
    search_help_text = gettext_lazy("Who, or a poll's code")
    fields = FIELDS
    readonly_fields = FIELDS
    actions = None

    @display(description=gettext_lazy("detail"))
    def short_detail(self, row: Record) -> str:
        text = ", ".join(f"{name}: {_short(value)}" for name, value in row.detail.items())
        return shortened(text, DETAIL_IN_LIST)

    @display(description=gettext_lazy("detail"))
    def details(self, row: Record) -> SafeString:
        text = json.dumps(row.detail, ensure_ascii=False, indent=2)
        return format_html('<pre class="ls-detail">{}</pre>', text)


def _short(value: Any) -> str:
    return isolated(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Recorded:
    """Mixin for an admin: record additions, changes and deletions in the audit log."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _record(request, obj, "added", message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _record(request, obj, "changed", message)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            _record(request, obj, "deleted", "")
        return super().log_deletions(request, queryset)  # type: ignore[misc]


def _record(request: HttpRequest, obj: Any, verb: str, message: Any) -> None:
    # Django's message contains field names but no values, so no password gets into the log.
    changes = [change for part in message if isinstance(part, dict) for change in part.values()]
    names = {name for change in changes for name in change.get("fields", ())}
    detail: dict[str, Any] = {"fields": sorted(names)} if names else {}
    record(user_actor(request.user), f"{obj._meta.model_name} {verb}", name=str(obj), **detail)
