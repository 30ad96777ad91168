"""Counts ballots from the vote log into ledger and tally, exactly once.

Start with `batches.py`, which counts a partition batch by batch, then `block_counting.py`. A ballot that
can't be counted becomes a dead letter. A poll whose ballots mostly fail is halted (`circuit_breaker.py`). It
may import `analytics.results` and polls.
"""
