"""The admin of what is counted: the overview, dead letters, and each poll's count."""

from analytics.admin import count, dashboard, dead_letters, halted_polls, quarantines

__all__ = ["count", "dashboard", "dead_letters", "halted_polls", "quarantines"]
