"""Repairs of a vote log that isn't the one the database counts from, and of workers that hang in COPY.

Start with `log_diagnosis.py`, which says what is wrong, then `reconcile.py`, which rebuilds the log.
It may import counting, health and everything below them.
"""
