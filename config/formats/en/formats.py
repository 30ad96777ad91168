"""How times are written in the admin: as Django does, with their zone (settings.TIME_ZONE)."""

DATETIME_FORMAT = "N j, Y, P T"
SHORT_DATETIME_FORMAT = "m/d/Y P T"
TIME_FORMAT = "P T"
