"""`{{ text|shortened:60 }}`: people's texts cut where a character ends."""

from __future__ import annotations

from django import template

from polls.text.truncation import shortened

register = template.Library()
register.filter("shortened", shortened)
