"""Search in Python, for short lists."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from polls.text.plain_text import folded


class FoldedSearch:
    """Mixin for an admin: a search that ignores case and accents, on every database alike.

    The search reads all rows, so it is only for lists that people make by hand. Polls have a search column
    instead.
    """

    search_fields: Any

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = folded(search_term).split()
        if not words:
            return queryset, False
        texts = {
            pk: folded("\n".join(map(str, row)))
            for pk, *row in queryset.values_list("pk", *self.search_fields)
        }
        found = [pk for pk, text in texts.items() if all(word in text for word in words)]
        return queryset.filter(pk__in=found), False
