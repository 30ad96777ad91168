"""Accepting ballots, the whole system, and the tally over HTTP."""

ORDER = ("ingest", "batch", "visit", "whole", "overload", "tally304", "growth", "screen")
