"""The admin of what is counted: the overview, dead letters, and each poll's count."""

from . import count, dashboard, dead_letters

__all__ = ["count", "dashboard", "dead_letters"]
