"""The admin of counting: the overview, dead letters, halted polls, quarantine, and each poll's count.

Start with `dashboard.py` (the overview) and `count.py` (a poll's count). The package may import polls.admin,
and every package of analytics except api, pages, management and tasks.
"""

from analytics.admin import count, dashboard, dead_letters, halted_polls, quarantines

__all__ = ["count", "dashboard", "dead_letters", "halted_polls", "quarantines"]
