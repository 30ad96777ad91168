"""Template tags and filters over `polls.text` and `polls.http`.

Start with `plain_text.py`; each module is what a template names in `{% load %}`.
It may import `polls.models` and what lies below it.
"""
