"""The REST API of polls: polls and their lifecycle, ballots, invites, challenges, receipts.

Start with `views.py` (polls) and `ballots.py` (casting); `endpoints.py` has what all endpoints share.
This package may import every other package of polls except admin, management and pages.
"""
