"""What people wrote, in a sentence of a template: `{{ name|isolated }}`."""

from __future__ import annotations

from django import template

from polls.text.plain_text import isolated

register = template.Library()
register.filter("isolated", isolated, is_safe=True)
