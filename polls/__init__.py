"""Polls, their voters, and accepting ballots. This is the lowest app: it imports no other app.

Start with `models/poll.py` (what a poll is), `lifecycle.py` (how its state changes) and `casting/` (how a
ballot gets into the vote log). pyproject.toml lists the packages and modules from top to bottom.
"""
