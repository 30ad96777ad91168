"""Voters' pages: join by code, vote, sign in and out, and the texts that the pages' scripts need.

Start with `urls.py` and `views.py`. The templates are in `templates/polls/`, the scripts in `static/js/`.
This package may import anything in `polls` but `admin`, `api` and `management`.
"""
