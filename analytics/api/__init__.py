"""REST endpoints of analytics: the tally, audit bundles, quarantine, /healthz, /readyz and /metrics.

Start with `tally.py`. The package may import polls.api, and analytics except admin, management and tasks.
"""
