"""The Django project: settings, entry points and the commands that serve. Nothing imports from here."""
