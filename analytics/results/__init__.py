"""The tallies as viewers see them: their visibility, their documents, and a round's final result.

Start with `tallies.py`, which reads a poll and its tally at one moment, and `visibility.py`.
The package may import `analytics.models` and polls.
"""
