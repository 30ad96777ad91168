"""The admin of what is counted: the overview, dead letters, and each poll's count."""

from . import count, dashboard, dead_letters, halts, quarantines

__all__ = ["count", "dashboard", "dead_letters", "halts", "quarantines"]
