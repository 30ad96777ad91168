"""Template tags and filters over `polls.text` and `polls.http`.

Start with `plain_text.py`. Templates load these modules by name with `{% load %}`. It may import
`polls.models` and what lies below it.
"""
