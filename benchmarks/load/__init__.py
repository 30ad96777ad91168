"""An HTTP load generator in its own process. Its rate is fixed, or as high as the server's answers allow."""

from __future__ import annotations

from benchmarks.load.plan import Plan, Report
from benchmarks.load.run import Load, offer

__all__ = ["Load", "Plan", "Report", "offer"]
