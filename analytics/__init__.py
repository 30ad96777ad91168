"""Counts the ballots of the vote log, and builds tallies, results and audit bundles.

Start with `tasks.py` (what the workers run), `counting/` (how a ballot gets into ledger and tally) and
`results/` (what viewers are shown). This app imports from polls only. pyproject.toml lists the packages and
modules from top to bottom.
"""
