"""`{{ text|shortened:60 }}`: truncate without splitting what people see as one character."""

from __future__ import annotations

from django import template

from polls.text.truncation import shortened

register = template.Library()
register.filter("shortened", shortened)
