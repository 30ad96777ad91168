"""What the tallies show: who may see them, as which document, and the final result of a round.

Start with `tallies.py`, which reads a poll and its tally at one moment, and `visibility.py`.
It may import `analytics.models` and polls.
"""
