"""Measures of accepting ballots, of the whole system, and of the tally over HTTP."""

ORDER = ("ingest", "batch", "visit", "whole", "overload", "tally304", "growth", "screen")
