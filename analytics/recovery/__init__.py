"""Repairs a vote log that the database doesn't count from, and ends sessions of workers that hang in COPY.

Start with `log_diagnosis.py`, which says what is wrong, then `reconcile.py`, which rebuilds the log.
The package may import counting, health and everything below them.
"""
