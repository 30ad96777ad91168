"""The admin site: its login steps, its look and its sidebar.

Start with site.py, which asks for the second factor; theme.py holds the settings of django-unfold.
This package may import config.security, config.operations and below, and every app.
"""
