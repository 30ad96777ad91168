"""Dates and times that people give: one format (RFC 3339) and the same bounds for API, admin and commands.

Python and databases can't handle every time outside the bounds: the last second of 9999 has no local time in
Berlin. Year 1 is the zero value of time in some languages, which clients send by mistake.
"""

from datetime import UTC, datetime, timedelta

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

OUT_OF_BOUNDS = _("Give a time from 1970 to 2200.")
IN_THE_PAST = _("This time has passed.")


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
