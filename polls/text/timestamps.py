"""Dates and times that people give: one format (RFC 3339) and the same bounds for API, admin and commands.

Python and databases can't handle every time outside the bounds: the last second of 9999 has no local time in
Berlin. Year 1 is the zero value of time in some languages, which clients send by mistake.
"""

import re
from datetime import UTC, datetime, timedelta

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

OUT_OF_BOUNDS = _("Give a time from 1970 to 2200.")
IN_THE_PAST = _("This time has passed.")

#: `date-time` of RFC 3339, section 5.6, including the space that its note allows.
_RFC_3339 = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"(?P<zone>[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)


class NaiveTime(ValueError):
    """A time without a UTC offset."""


def parse_rfc_3339(text: str) -> datetime:
    """Parse a time to the microsecond. Raise NaiveTime without an offset, ValueError if it is no time."""
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    fraction = (parts["fraction"] or "")[:6].ljust(6, "0")
    zone = parts["zone"] or "Z"
    moment = datetime.fromisoformat(f"{parts['date']}T{parts['time']}.{fraction}{zone.upper()}")
    if parts["zone"] is None:
        raise NaiveTime(text)
    return moment


def in_bounds(moment: datetime) -> bool:
    return EARLIEST <= moment <= LATEST


def validate_bounds(moment: datetime) -> None:
    """Raise ValidationError for a time outside the bounds: a validator for forms and models."""
    if not in_bounds(moment):
        raise ValidationError(OUT_OF_BOUNDS, code="outside")


def from_milliseconds(count: int) -> datetime:
    """Convert milliseconds since the epoch, as the vote log stores them, to a time within the bounds."""
    most = to_milliseconds(LATEST)
    return EARLIEST + timedelta(milliseconds=min(max(count, 0), most))


def to_milliseconds(moment: datetime) -> int:
    return (moment - EARLIEST) // timedelta(milliseconds=1)


def clamped(moment: datetime) -> datetime:
    """Return the nearest time within the bounds."""
    return min(max(moment, EARLIEST), LATEST)
