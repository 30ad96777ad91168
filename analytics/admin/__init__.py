"""The admin of what is counted: the overview, and dead letters."""

from . import dashboard, dead_letters

__all__ = ["dashboard", "dead_letters"]
