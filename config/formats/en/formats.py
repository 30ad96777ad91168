"""Formats of times in the admin: Django's own, with the time zone added (settings.TIME_ZONE)."""

DATETIME_FORMAT = "N j, Y, P T"
SHORT_DATETIME_FORMAT = "m/d/Y P T"
TIME_FORMAT = "P T"
