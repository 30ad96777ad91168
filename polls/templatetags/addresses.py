"""`{% absolute_url name … %}`, for pages that are printed."""

from typing import Any

from django import template
from django.urls import reverse

from polls.http.client_address import public_url

register = template.Library()


@register.simple_tag(takes_context=True)
def absolute_url(context: dict[str, Any], name: str, *args: str) -> str:
    """Return the absolute URL of a page, for other people."""
    return public_url(context["request"], reverse(name, args=args))
