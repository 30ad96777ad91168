"""The list of polls: filters, search and cursor pagination."""

from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django_filters.fields import ChoiceField
from rest_framework import exceptions
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from polls.errors import Malformed
from polls.models import Poll, State
from polls.text.integers import whole_number
from polls.text.plain_text import folded

PARAMETERS = {"state", "search", "cursor", "page_size"}


def check_parameters(request: Request) -> None:
    """Refuse unknown parameters. Otherwise a misspelt filter would return all polls."""
    if unknown := sorted(set(request.query_params) - PARAMETERS):
        raise exceptions.ValidationError({name: [_("There is no such parameter.")] for name in unknown[:10]})


class NonEmptyChoice(ChoiceField):
    """Refuse the empty string, which Django's form fields read as "any"."""

    def clean(self, value: Any) -> Any:
        if value == "":
            raise ValidationError(self.error_messages["invalid_choice"], "invalid_choice", {"value": value})
        return super().clean(value)


class StateFilter(django_filters.ChoiceFilter):
    field_class = NonEmptyChoice


class PollFilter(django_filters.FilterSet):
    state = StateFilter(choices=State.choices, help_text="Only polls in this state.")
    search = django_filters.CharFilter(
        method="find",
        max_length=100,
        help_text="Part of the question or of the code; case and accents don't matter.",
    )

    class Meta:
        model = Poll
        fields: list[str] = []

    def find(self, polls: QuerySet[Poll], name: str, text: str) -> QuerySet[Poll]:
        return polls.filter(search_text__contains=folded(text))


class PollPages(CursorPagination):
    """Newest polls first. Ids are unique and increasing, so no page skips or repeats a poll."""

    ordering = "-id"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    page_size_query_description = "Polls per page, 1 to 200."
    cursor_query_description = "Taken from `next` or `previous` of another page."

    def get_page_size(self, request: Request) -> int:
        asked = request.query_params.get("page_size")
        if asked is None:
            return self.page_size
        size = whole_number(asked)
        if size is None or not 1 <= size <= self.max_page_size:
            raise Malformed(_("page_size goes from 1 to %(most)s.") % {"most": self.max_page_size})
        return size

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound:
            raise Malformed(_("This cursor is not one of ours.")) from None
        position = str(cursor.position) if cursor and cursor.position is not None else None
        if position is not None and whole_number(position) is None:
            raise Malformed(_("This cursor is not one of ours."))
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == "page_size":
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": self.max_page_size}
        return parameters
