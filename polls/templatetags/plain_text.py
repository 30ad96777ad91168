"""`{{ name|isolated }}`: a text that people wrote, within a sentence of ours."""

from __future__ import annotations

from django import template

from polls.text.plain_text import isolated

register = template.Library()
register.filter("isolated", isolated, is_safe=True)
