"""Filters for texts that people wrote: `{{ name|isolated }}` and `{{ text|shortened:60 }}`."""

from django import template

from polls.text.plain_text import isolated
from polls.text.truncation import shortened

register = template.Library()
register.filter("isolated", isolated, is_safe=True)
register.filter("shortened", shortened)
