"""An HTTP load generator in a process of its own: open-loop at a fixed rate, or as fast as answers come."""

from __future__ import annotations

from benchmarks.load.plan import Plan, Report
from benchmarks.load.run import Load, offer

__all__ = ["Load", "Plan", "Report", "offer"]
