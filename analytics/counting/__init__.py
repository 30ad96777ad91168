"""Counts each ballot of the vote log exactly once into ledger and tally.

Start with `batches.py`, which counts a partition batch by batch, then `block_counting.py`. A ballot that
can't be counted becomes a dead letter. A poll whose ballots mostly fail is halted (`circuit_breaker.py`). The
package may import `analytics.results` and polls.
"""
